/** The files of a run, kept out of sight until all of them are whole. */

import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { PoolsmithError } from '../errors.ts'
import type { ManifestFile } from './manifest.ts'
import { checkPlan, type ExtractPlan, partName } from './plan.ts'
import { syncFolder, TargetFile, writeFailure } from './target-file.ts'
import type { Written } from './write-part.ts'

/** A partition that is whole, as it is noted beside its file. */
interface Whole extends Written {
  readonly number: number
  readonly bytes: number
  readonly sha256: string
  readonly startedAt: string
  readonly finishedAt: string
}

const PLAN = 'plan.json'

/**
 * A folder `_unfinished-<key>` beside the files to be: each partition is written there, and moved out of it when the
 * last one is whole. When a run fails with some partitions whole the folder stays, and a later run that does the same
 * on the same day goes on in it, by its plan and with its batch id.
 */
export class PartFiles implements AsyncDisposable {
  readonly plan: ExtractPlan
  readonly #folder: string
  readonly #staging: string
  readonly #isKept: boolean
  readonly #whole = new Map<number, Whole & { readonly isKept: boolean }>()
  readonly #writing = new Set<TargetFile>()
  #published = false

  private constructor(folder: string, staging: string, plan: ExtractPlan, isKept: boolean) {
    this.#folder = folder
    this.#staging = staging
    this.plan = plan
    this.#isKept = isKept
  }

  /**
   * @param key what a later run is known by; undefined when there shall be none to go on
   * @param signal ends the look through the files that are there
   */
  static async open(
    folder: string,
    plan: ExtractPlan,
    key: string | undefined,
    resume: boolean,
    signal: AbortSignal,
  ): Promise<PartFiles> {
    const staging = join(folder, `_unfinished-${key ?? plan.batchId}`)
    if (key !== undefined && resume) {
      const before = await planIn(staging)
      if (before !== undefined) {
        const files = new PartFiles(folder, staging, before, true)
        await files.#findWhole(signal)
        return files
      }
    }
    try {
      await rm(staging, { recursive: true, force: true })
    } catch (error) {
      throw writeFailure(error, staging)
    }
    await using file = await TargetFile.create(staging, PLAN)
    await file.write(Buffer.from(JSON.stringify(plan)))
    await file.finish()
    return new PartFiles(folder, staging, plan, key !== undefined)
  }

  /** The partitions that are not whole yet. */
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
    return [...this.#whole.values()].flatMap(({ number, notes }) => notes.map((note) => `partition ${number}: ${note}`))
  }

  async write(number: number, write: (file: TargetFile) => Promise<Written>): Promise<void> {
    const startedAt = new Date().toISOString()
    // Nobody else writes in this folder: whoever goes on in it holds its name in the database.
    await using file = await TargetFile.create(this.#staging, dataName(number), 'w')
    this.#writing.add(file)
    try {
      const written = await write(file)
      const { bytes, sha256 } = await file.finish()
      const whole = { number, ...written, bytes, sha256, startedAt, finishedAt: new Date().toISOString() }
      await using note = await TargetFile.create(this.#staging, noteName(number), 'w')
      await note.write(Buffer.from(JSON.stringify(whole)))
      await note.finish()
      this.#whole.set(number, { ...whole, isKept: false })
    } finally {
      this.#writing.delete(file)
    }
  }

  /** Moves all files to where they belong. */
  async publish(): Promise<readonly ManifestFile[]> {
    try {
      for (const number of this.#whole.keys()) {
        const path = join(this.#folder, partName(this.plan, number))
        // A run that was killed here before may have moved some.
        if (!(await exists(path))) await rename(join(this.#staging, dataName(number)), path)
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

  /** Takes back what was moved; for good when it shall not be gone on with. */
  async takeBack(forGood: boolean): Promise<void> {
    for (const number of this.#whole.keys()) {
      const path = join(this.#folder, partName(this.plan, number))
      const back = forGood ? rm(path, { force: true }) : rename(path, join(this.#staging, dataName(number)))
      // What cannot be taken back is without a manifest; the error on the way is the one to hear of.
      await back.catch(() => undefined)
    }
    if (forGood) this.#whole.clear()
  }

  /** All is well: nothing is left to go on with. */
  async done(): Promise<void> {
    this.#published = true
    await rm(this.#staging, { recursive: true, force: true }).catch(() => undefined)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#published || (this.#isKept && this.#whole.size > 0)) return
    await rm(this.#staging, { recursive: true, force: true }).catch(() => undefined)
  }

  async #findWhole(signal: AbortSignal): Promise<void> {
    const names = await readdir(this.#staging).catch(() => [])
    for (const name of names.filter((each) => /^part-\d+\.json$/.test(each))) {
      const whole = await wholeFrom(join(this.#staging, name))
      if (whole === undefined || this.plan.partitions[whole.number] === undefined) continue
      const staged = join(this.#staging, dataName(whole.number))
      const path = (await exists(staged)) ? staged : join(this.#folder, partName(this.plan, whole.number))
      if ((await hashOf(path, signal)) === whole.sha256) this.#whole.set(whole.number, { ...whole, isKept: true })
    }
  }
}

/** No reader that looks for `*.parquet` takes it for one. */
function dataName(number: number): string {
  return `part-${String(number).padStart(5, '0')}.whole`
}

function noteName(number: number): string {
  return `part-${String(number).padStart(5, '0')}.json`
}

async function planIn(staging: string): Promise<ExtractPlan | undefined> {
  try {
    const plan = JSON.parse(await readFile(join(staging, PLAN), 'utf8')) as ExtractPlan
    checkPlan(plan, 0)
    return plan
  } catch {
    // None, or not a whole one: there is nothing to go on with.
    return undefined
  }
}

async function wholeFrom(path: string): Promise<Whole | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Whole
  } catch {
    // The partition is read again.
    return undefined
  }
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined
}

async function hashOf(path: string, signal: AbortSignal): Promise<string | undefined> {
  const hash = createHash('sha256')
  try {
    for await (const chunk of createReadStream(path, { signal })) hash.update(chunk as Buffer)
  } catch {
    if (signal.aborted) throw aborted(path, signal)
    // Gone or unreadable: the partition is read again.
    return undefined
  }
  return hash.digest('hex')
}

function aborted(path: string, { reason }: AbortSignal): PoolsmithError {
  return new PoolsmithError(`Looking through ${path} was aborted.`, { code: 'ABORTED', phase: 'write', cause: reason })
}
