/** The files of a run with several partitions, hidden from readers until all of them are complete. */

import { mkdir, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { errorCode } from '../../any-error.ts'
import { DistrustedFile, syncFolder } from '../../private-file.ts'
import { checkPlan } from '../check-plan.ts'
import type { KeptPart } from '../going-on.ts'
import { isCount, isInstant, isListOf, isRecord, isSha256, isText } from '../json-checks.ts'
import type { ManifestFile } from '../manifest.ts'
import { type ExtractPlan, manifestName, partName } from '../plan.ts'
import { planOfSameRun } from '../same-run.ts'
import type { Written } from '../write-part.ts'
import type { DayFolder } from './day-folder.ts'
import { hashOfFile } from './hash-file.ts'
import { assertPrivateFolder, isOwnFile, readOwnText } from './own-files.ts'
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
  readonly day: DayFolder
  /** By this key a later run finds the files; undefined when none may go on with them. */
  readonly key: string | undefined
  /** Whether a later run of the same key may be able to go on with the files. */
  readonly keep: boolean
  /** Why the files of an earlier run of the same key are not used; undefined when they are. */
  readonly obstacleTo: (plan: ExtractPlan, kept: readonly KeptPart[]) => Promise<string | undefined>
}

/** How a run begins in its folder. */
interface Beginning {
  readonly day: DayFolder
  readonly staging: string
  /** Whether the files stay when the run fails. */
  readonly isKept: boolean
  /** Why files of an earlier run were not used. */
  readonly note?: string | undefined
}

/**
 * A folder `_unfinished-<key>` in the day's folder: each partition is written there, and all files are moved out of it
 * when the last one is complete. When a run fails after some partitions, the folder stays. A later run of the same day
 * that reads the same goes on in it, by its plan and with its batch id, where all parts still are one moment.
 */
export class PartFiles implements AsyncDisposable {
  readonly plan: ExtractPlan
  /** Where the files get their final names. */
  readonly #folder: string
  readonly #staging: string
  readonly #isKept: boolean
  readonly #note: string | undefined
  readonly #whole = new Map<number, Whole & { readonly isKept: boolean }>()
  readonly #writing = new Set<TargetFile>()
  #published = false

  private constructor({ day, staging, isKept, note }: Beginning, plan: ExtractPlan) {
    this.#folder = day.files
    this.#staging = staging
    this.plan = plan
    this.#isKept = isKept
    this.#note = note
  }

  /**
   * @param plan of this run
   * @param signal ends the look through the files that are there
   */
  static async open(place: PartsPlace, plan: ExtractPlan, signal: AbortSignal): Promise<PartFiles> {
    const { day, key, keep } = place
    const folder = day.path
    try {
      const own = { day, staging: join(folder, `_unfinished-${plan.batchId}`), isKept: false }
      if (key === undefined) return await PartFiles.#begin(own, plan)
      const staging = join(folder, `_unfinished-${key}`)
      const distrust = await distrustOf(staging)
      if (distrust !== undefined) {
        // It is not removed either, because it may lead to other files than ours.
        const note = `Nothing of an earlier run was used, because its folder is not trusted: ${distrust}`
        return await PartFiles.#begin({ ...own, note }, plan)
      }
      const left = await PartFiles.#left(place, { day, staging, isKept: keep }, plan, signal)
      if (left instanceof PartFiles) return left
      const isCleared = await clearStaging(staging)
      return await PartFiles.#begin({ ...(isCleared ? { day, staging, isKept: keep } : own), note: left }, plan)
    } catch (error) {
      throw writeFailure(error, folder)
    }
  }

  /** The files that an earlier run has left, when they can be used; else why they were dropped. */
  static async #left(
    { obstacleTo }: PartsPlace,
    beginning: Beginning,
    plan: ExtractPlan,
    signal: AbortSignal,
  ): Promise<PartFiles | string | undefined> {
    const before = await planIn(beginning.staging)
    if (before === undefined) return undefined
    const same = planOfSameRun(before, plan)
    const files = new PartFiles(beginning, same ?? before)
    await files.#findWhole(signal)
    const { size } = files.#whole
    const obstacle = same === undefined ? undefined : await obstacleTo(same, [...files.#whole.values()])
    if (same !== undefined && obstacle === undefined) return files
    await files.#withdraw()
    if (obstacle === undefined || size === 0) return undefined
    return `${size} of ${before.partitions.length} parts that a failed run had read were read again: ${obstacle}.`
  }

  static async #begin(beginning: Beginning, plan: ExtractPlan): Promise<PartFiles> {
    const { staging } = beginning
    await mkdir(staging, { mode: 0o700 })
    await using file = await TargetFile.create(staging, PLAN_NAME, { mode: 0o600 })
    await file.write(Buffer.from(JSON.stringify(plan)))
    await file.finish()
    return new PartFiles(beginning, plan)
  }

  /** Whether the complete files stay for a later run when this run fails. */
  get isKept(): boolean {
    return this.#isKept
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
    return this.#note === undefined ? ofParts : [this.#note, ...ofParts]
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
      const isMoved = errorCode(error) === 'ENOENT' && (await isOwnFile(path))
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

  /** Removes files that a killed run has moved to their final place, without a manifest. */
  async #withdraw(): Promise<void> {
    if (await isOwnFile(join(this.#folder, manifestName(this.plan)))) return
    for (const number of this.plan.partitions.keys()) {
      const path = join(this.#folder, partName(this.plan, number))
      if (await isOwnFile(path)) await rm(path, { force: true })
    }
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
    if (errorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/** The plan of an earlier run. */
async function planIn(staging: string): Promise<ExtractPlan | undefined> {
  try {
    const before: unknown = JSON.parse(await readOwnText(join(staging, PLAN_NAME)))
    checkPlan(before)
    return before
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
