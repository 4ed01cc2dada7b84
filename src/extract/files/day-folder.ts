/** The folder of a day, and what a run does with the complete extracts that are in it. */

import { randomUUID } from 'node:crypto'
import { mkdir, rename, rm, rmdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { errorCode } from '../../any-error.ts'
import { PoolsmithError } from '../../errors.ts'
import { syncFolder } from '../../private-file.ts'
import { exchange } from './exchange.ts'
import { isOwnFolder, linkOrMove, makeFolders, namesIn } from './own-files.ts'
import { writeFailure } from './write-failure.ts'

export const WRITE_MODES = ['append', 'overwrite', 'error'] as const
/** `append`: beside the day's earlier extracts; `overwrite`: in their place; `error`: only where there is none. */
export type WriteMode = (typeof WRITE_MODES)[number]

/** The data files and manifests of extracts. */
const OURS = /^(part|_manifest)-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(-\d{5})?\.\w+$/

/**
 * Files are written into {@link files}, and {@link commit} makes them the day's. With `overwrite` that is a new folder,
 * which takes the place of the day's in one step.
 */
export class DayFolder implements AsyncDisposable {
  readonly path: string
  /** The folder in which files get their final names. */
  readonly files: string
  readonly #mode: WriteMode
  /** The folder that the new one has replaced; undefined when there was none. */
  #old: string | undefined
  #isCommitted = false
  /** The folder that is not needed when the run has ended. */
  #spare: string | undefined

  private constructor(path: string, files: string, mode: WriteMode) {
    this.path = path
    this.files = files
    this.#mode = mode
  }

  /**
   * @param to the folder below which the layout begins
   * @param path the day's folder
   * @throws PoolsmithError EXTRACT_EXISTS, and as {@link makeFolders}
   */
  static async open(to: string, path: string, mode: WriteMode, batchId: string): Promise<DayFolder> {
    await restore(path)
    const files = mode === 'overwrite' ? join(dirname(path), `_replacing-${basename(path)}-${batchId}`) : path
    const day = new DayFolder(path, files, mode)
    await day.#assertEmpty(batchId)
    await makeFolders(to, path)
    if (mode === 'overwrite') {
      await mkdir(files).catch((error: unknown) => raise(error, files))
      day.#spare = files
    }
    return day
  }

  /** Brings files that are in the day's folder already into {@link files}. */
  async take(names: readonly string[]): Promise<void> {
    if (this.files === this.path) return
    for (const name of names) {
      await linkOrMove(join(this.path, name), join(this.files, name)).catch((error: unknown) =>
        raise(error, this.files),
      )
    }
  }

  /**
   * Makes the files the day's, when all of them and the manifest are in their folder.
   *
   * @throws PoolsmithError EXTRACT_EXISTS when another run has written one meanwhile
   */
  async commit(batchId: string): Promise<void> {
    await this.#assertEmpty(batchId)
    if (this.#mode !== 'overwrite') return
    // Nothing is removed while it is not known which of the two is the day's.
    this.#spare = undefined
    this.#old = await replace(this.files, this.path).catch((error: unknown) => raise(error, this.path))
    this.#isCommitted = true
    if (this.#old !== undefined) await moveOthers(this.#old, this.path)
    this.#spare = this.#old
  }

  /** Undoes {@link commit}, because the run failed after it. */
  async rollback(): Promise<void> {
    if (!this.#isCommitted) return
    this.#isCommitted = false
    this.#spare = undefined
    if (this.#old === undefined) {
      await mkdir(this.files)
      for (const name of await namesIn(this.path)) {
        if (OURS.test(name)) await rename(join(this.path, name), join(this.files, name))
      }
    } else {
      await moveOthers(this.path, this.#old)
      const now = await replace(this.#old, this.path)
      if (now !== undefined && now !== this.files) await rename(now, this.files)
    }
    this.#spare = this.files
  }

  /** Removes what is not needed any more: the replaced folder, or the new one of a failed run. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#spare !== undefined) await removeReplaced(this.#spare)
  }

  async #assertEmpty(batchId: string): Promise<void> {
    if (this.#mode !== 'error') return
    const found = (await namesIn(this.path)).find(
      (name) => name.startsWith('_manifest-') && !name.startsWith(`_manifest-${batchId}`),
    )
    if (found === undefined) return
    throw new PoolsmithError(`${this.path} already holds an extract of this day: ${found}.`, {
      code: 'EXTRACT_EXISTS',
      phase: 'write',
      hint: "Use mode: 'overwrite' (--mode overwrite) to replace it, or 'append' to write beside it.",
      details: { folder: this.path, manifest: found },
    })
  }
}

/**
 * Puts one folder in the place of another one.
 *
 * @returns where the other one is now; undefined when there was none
 */
async function replace(fresh: string, path: string): Promise<string | undefined> {
  let old: string | undefined = fresh
  if (!(await exchange(fresh, path))) {
    old = join(dirname(path), `${replacedBy(path)}${randomUUID()}`)
    // Between these two steps the day is missing; `restore` brings it back after a failure of the machine.
    try {
      await rename(path, old)
    } catch (error) {
      if (!isMissing(error)) throw error
      old = undefined
    }
    try {
      await rename(fresh, path)
    } catch (error) {
      if (old !== undefined) await rename(old, path)
      throw error
    }
  }
  await syncFolder(dirname(path))
  return old
}

function replacedBy(path: string): string {
  return `_replaced-${basename(path)}-`
}

/** A machine that failed in the middle of a replacement has left the day's folder under another name. */
async function restore(path: string): Promise<void> {
  const names = await namesIn(dirname(path))
  if (names.includes(basename(path))) return
  for (const name of names.filter((one) => one.startsWith(replacedBy(path)))) {
    const old = join(dirname(path), name)
    if (await isOwnFolder(old)) return rename(old, path).catch((error: unknown) => raise(error, path))
  }
}

/** Moves all that is not of complete extracts: the files of runs that are under way, and those of other programs. */
async function moveOthers(from: string, to: string): Promise<void> {
  for (const name of await namesIn(from)) {
    if (OURS.test(name)) continue
    await rename(join(from, name), join(to, name)).catch((error: unknown) => {
      // Its run has ended meanwhile.
      if (!isMissing(error)) throw writeFailure(error, to)
    })
  }
}

/** Readers do not look into the folder, so a failure does no harm; later runs remove it. */
export async function removeReplaced(folder: string): Promise<void> {
  for (const name of await namesIn(folder)) {
    if (OURS.test(name)) await rm(join(folder, name), { force: true }).catch(() => undefined)
  }
  await rmdir(folder).catch(() => undefined)
}

function isMissing(error: unknown): boolean {
  return errorCode(error) === 'ENOENT'
}

function raise(error: unknown, path: string): never {
  throw writeFailure(error, path)
}
