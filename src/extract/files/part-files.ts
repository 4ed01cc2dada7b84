/** The files of a run with several partitions, hidden from readers until all of them are complete. */

import { mkdir, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { DistrustedFile } from '../../private-file.ts'
import { checkPlan } from '../check-plan.ts'
import { isCount, isInstant, isListOf, isRecord, isSha256, isText } from '../json-checks.ts'
import type { ManifestFile } from '../manifest.ts'
import { type ExtractPlan, partName } from '../plan.ts'
import { planOfSameRun } from '../same-run.ts'
import type { Written } from '../write-part.ts'
import { hashOfFile } from './hash-file.ts'
import { assertPrivateFolder, isOwnFile, makeFolders, readOwnText, syncFolder } from './own-files.ts'
import { clearStaging, dataName, noteName, PLAN_NAME, partOfNote } from './staging.ts'
import { TargetFile } from './target-file.ts'
import { writeFailure } from './write-failure.ts'

/** A partition whose file is complete, as the note beside the file says it. */
interface Whole extends Written {
  readonly number: number
  readonly bytes: number
  readonly sha256: string
  readonly startedAt: string
  readonly finishedAt: string
}

/** Where a run keeps its files until all of them are complete. */
export interface PartsPlace {
  /** The folder below which the layout begins. */
  readonly to: string
  /** The day's folder. */
  readonly folder: string
  /** By this key a later run finds the files; undefined when none may go on with them. */
  readonly key: string | undefined
  /** Whether to go on with the files of an earlier run of the same key. */
  readonly resume: boolean
}

/**
 * A folder `_unfinished-<key>` in the day's folder: each partition is written there, and all files are moved out of it
 * when the last one is complete. When a run fails after some partitions, the folder stays. A later run of the same day
 * that reads the same goes on in it, by its plan and with its batch id.
 */
export class PartFiles implements AsyncDisposable {
  readonly plan: ExtractPlan
  readonly #folder: string
  readonly #staging: string
  readonly #isKept: boolean
  readonly #distrust: string | undefined
  readonly #whole = new Map<number, Whole & { readonly isKept: boolean }>()
  readonly #writing = new Set<TargetFile>()
  #published = false

  private constructor(folder: string, staging: string, plan: ExtractPlan, isKept: boolean, distrust?: string) {
    this.#folder = folder
    this.#staging = staging
    this.plan = plan
    this.#isKept = isKept
    this.#distrust = distrust
  }

  /**
   * @param plan of this run
   * @param signal ends the look through the files that are there
   */
  static async open(place: PartsPlace, plan: ExtractPlan, signal: AbortSignal): Promise<PartFiles> {
    const { to, folder, key, resume } = place
    try {
      await makeFolders(to, folder)
      const own = join(folder, `_unfinished-${plan.batchId}`)
      const staging = key === undefined ? own : join(folder, `_unfinished-${key}`)
      const distrust = key === undefined ? undefined : await distrustOf(staging)
      // It is not removed either, because it may lead to other files than ours.
      if (distrust !== undefined) return await PartFiles.#begin(folder, own, plan, false, distrust)
      const before = key !== undefined && resume ? await planIn(staging, plan) : undefined
      if (before !== undefined) {
        const files = new PartFiles(folder, staging, before, true)
        await files.#findWhole(signal)
        return files
      }
      if (await clearStaging(staging)) return await PartFiles.#begin(folder, staging, plan, key !== undefined)
      return await PartFiles.#begin(folder, own, plan, false)
    } catch (error) {
      throw writeFailure(error, folder)
    }
  }

  static async #begin(
    folder: string,
    staging: string,
    plan: ExtractPlan,
    isKept: boolean,
    distrust?: string,
  ): Promise<PartFiles> {
    await mkdir(staging, { mode: 0o700 })
    await using file = await TargetFile.create(staging, PLAN_NAME, { mode: 0o600 })
    await file.write(Buffer.from(JSON.stringify(plan)))
    await file.finish()
    return new PartFiles(folder, staging, plan, isKept, distrust)
  }

  /** The partitions that are not complete yet. */
  get todo(): readonly number[] {
    return this.plan.partitions.map((_, number) => number).filter((number) => !this.#whole.has(number))
  }

  get whole(): number {
    return this.#whole.size
  }

  get rows(): number {
    return [...this.#whole.values()].reduce((sum, { rows }) => sum + rows, 0)
  }

  get bytes(): number {
    const whole = [...this.#whole.values()].reduce((sum, { bytes }) => sum + bytes, 0)
    return [...this.#writing].reduce((sum, file) => sum + file.bytes, whole)
  }

  get notes(): readonly string[] {
    const ofParts = [...this.#whole.values()].flatMap(({ number, notes }) =>
      notes.map((note) => `partition ${number}: ${note}`),
    )
    if (this.#distrust === undefined) return ofParts
    return [`Nothing of an earlier run was used, because its folder is not trusted: ${this.#distrust}`, ...ofParts]
  }

  async write(number: number, write: (file: TargetFile) => Promise<Written>): Promise<void> {
    const startedAt = new Date().toISOString()
    // Only one session writes in this folder: the one that holds the lock of its key in the database.
    await using file = await TargetFile.create(this.#staging, dataName(number), { replaceLeftover: true })
    this.#writing.add(file)
    try {
      const written = await write(file)
      const { bytes, sha256 } = await file.finish()
      const whole = { number, ...written, bytes, sha256, startedAt, finishedAt: new Date().toISOString() }
      await using note = await TargetFile.create(this.#staging, noteName(number), {
        replaceLeftover: true,
        mode: 0o600,
      })
      await note.write(Buffer.from(JSON.stringify(whole)))
      await note.finish()
      this.#whole.set(number, { ...whole, isKept: false })
    } finally {
      this.#writing.delete(file)
    }
  }

  /** Moves all files to their final place. */
  async publish(): Promise<readonly ManifestFile[]> {
    try {
      for (const number of this.#whole.keys()) {
        await this.#publishOne(number)
      }
      await syncFolder(this.#folder)
    } catch (error) {
      throw writeFailure(error, this.#folder)
    }
    return [...this.#whole.values()]
      .sort((a, b) => a.number - b.number)
      .map(({ number, rows, bytes, sha256, startedAt, isKept }) => ({
        name: partName(this.plan, number),
        bytes,
        sha256,
        rows,
        partition: number,
        label: this.plan.partitions[number]?.label ?? '',
        ...(isKept ? { keptFrom: startedAt } : {}),
      }))
  }

  async #publishOne(number: number): Promise<void> {
    const path = join(this.#folder, partName(this.plan, number))
    try {
      await rename(join(this.#staging, dataName(number)), path)
    } catch (error) {
      // An earlier run may have moved it before it was killed.
      const isMoved = error instanceof Error && 'code' in error && error.code === 'ENOENT' && (await isOwnFile(path))
      if (!isMoved) throw error
    }
  }

  /**
   * Moves the files back to the staging folder, because the run has failed.
   *
   * @param forGood removes them instead: no later run may go on with them
   */
  async takeBack(forGood: boolean): Promise<void> {
    for (const number of this.#whole.keys()) {
      const path = join(this.#folder, partName(this.plan, number))
      const back = forGood ? rm(path, { force: true }) : rename(path, join(this.#staging, dataName(number)))
      // A file that stays is in no manifest. The caller gets the error that led here.
      await back.catch(() => undefined)
    }
    if (forGood) this.#whole.clear()
  }

  /** The run has succeeded: removes the staging folder. */
  async done(): Promise<void> {
    this.#published = true
    await clearStaging(this.#staging)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#published || (this.#isKept && this.#whole.size > 0)) return
    await clearStaging(this.#staging)
  }

  async #findWhole(signal: AbortSignal): Promise<void> {
    for (const name of await readdir(this.#staging).catch(() => [])) {
      const number = partOfNote(name)
      if (number === undefined || this.plan.partitions[number] === undefined) continue
      const whole = await wholeFrom(join(this.#staging, name), number)
      if (whole === undefined) continue
      const staged = join(this.#staging, dataName(number))
      const path = (await isOwnFile(staged)) ? staged : join(this.#folder, partName(this.plan, number))
      if ((await hashOfFile(path, signal)) === whole.sha256) this.#whole.set(number, { ...whole, isKept: true })
    }
  }
}

/** Why an existing staging folder is not used; undefined when it is this user's alone, or does not exist. */
async function distrustOf(staging: string): Promise<string | undefined> {
  try {
    await assertPrivateFolder(staging)
    return undefined
  } catch (error) {
    if (error instanceof DistrustedFile) return error.message
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}

/** The plan of an earlier run that reads the same as this one. */
async function planIn(staging: string, plan: ExtractPlan): Promise<ExtractPlan | undefined> {
  try {
    const before: unknown = JSON.parse(await readOwnText(join(staging, PLAN_NAME)))
    checkPlan(before, 0)
    return planOfSameRun(before, plan)
  } catch {
    // Missing or damaged: the run begins from the beginning.
    return undefined
  }
}

async function wholeFrom(path: string, number: number): Promise<Whole | undefined> {
  try {
    const whole: unknown = JSON.parse(await readOwnText(path))
    return isWhole(whole) && whole.number === number ? whole : undefined
  } catch {
    // The partition is read again.
    return undefined
  }
}

function isWhole(value: unknown): value is Whole {
  return (
    isRecord(value) &&
    [value.number, value.rows, value.bytes].every(isCount) &&
    isListOf(value.notes, isText) &&
    isSha256(value.sha256) &&
    isInstant(value.startedAt) &&
    isInstant(value.finishedAt)
  )
}
