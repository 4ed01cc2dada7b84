/**
 * The file of an audit log. Lines are written in order, by calls that block, so that the order of the hash chain is that of
 * the file; what takes time, fsync, runs beside, once for all lines that wait (group commit).
 */

import {
  closeSync,
  constants,
  fdatasync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  openSync,
  statSync,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import type { PoolsmithError } from '../errors.ts'
import { appendTrusted, assertTrusted } from '../private-file.ts'
import { inBackground } from '../tracing.ts'
import { Chain } from './chain.ts'
import { auditFailed, auditFileRefused } from './failure.ts'
import type { AuditLine } from './line.ts'
import { readTail } from './tail.ts'

const sync = promisify(fdatasync)

/** How long a line may wait in memory under `audit=on`. */
const DELAY_MILLIS = 100
const FULL_BATCH = 1 << 16
/** In characters: lines that are kept while the file cannot be written. */
const MOST_KEPT = 4 << 20
const RETRY_MILLIS = 1000

/** Facts of a line about the log itself. */
export interface LogFacts {
  readonly action: 'opened' | 'reopened' | 'recreated' | 'resumed' | 'closed'
  /** The hashes of lines before that are not whole: a program or a machine ended, or a disk was full, in the middle. */
  readonly torn?: readonly string[] | undefined
  /** Lines that were given up since the line before. */
  readonly lost?: number | undefined
}

export interface AuditFileOptions {
  readonly path: string
  readonly chain: boolean
  /** Makes a line about the log itself. */
  readonly logLine: (facts: LogFacts) => AuditLine
  readonly onFailure: (error: PoolsmithError, lost: number) => void
}

interface Waiter {
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export class AuditFile {
  readonly #options: AuditFileOptions
  #fd = -1
  #chain: Chain | undefined
  #needsBreak = false
  #lines: AuditLine[] = []
  #length = 0
  #lost = 0
  /** The facts of the line about the log that waits in front of the others. */
  #telling: { readonly torn: ReadonlySet<string>; readonly lost: number } | undefined
  #timer: NodeJS.Timeout | undefined
  #waiting: Waiter[] = []
  #isCommitting = false
  #syncing: Promise<void> | undefined
  #failure: PoolsmithError | undefined

  /** @throws PoolsmithError AUDIT_FILE_REFUSED */
  constructor(options: AuditFileOptions) {
    this.#options = options
    try {
      this.#open('opened')
      this.#write()
    } catch (error) {
      if (this.#fd >= 0) closeSync(this.#fd)
      throw auditFileRefused(options.path, error)
    }
  }

  /** Why the latest lines could not be written, until they are. */
  get failure(): PoolsmithError | undefined {
    return this.#failure
  }

  /** Adds a line, which is written soon. */
  take(line: AuditLine): void {
    if (this.#length > MOST_KEPT || this.#fd < 0) {
      this.#lost++
      return
    }
    this.#lines.push(line)
    this.#length += line.length
    if (this.#failure !== undefined) return
    if (this.#length >= FULL_BATCH) this.flush()
    else this.#timer ??= inBackground(() => setTimeout(() => this.flush(), DELAY_MILLIS).unref())
  }

  /** Adds a line. @returns resolves when it is durable; rejects with AUDIT_FAILED */
  takeDurably(line: AuditLine): Promise<void> {
    this.take(line)
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#waiting.push({ resolve, reject })
    if (!this.#isCommitting) void inBackground(() => this.#commit())
    return promise
  }

  /** Adds a line, and blocks until it is durable. @throws PoolsmithError AUDIT_FAILED */
  takeNow(line: AuditLine): void {
    this.take(line)
    if (this.#failure !== undefined) throw this.#failure
    this.#attempt(() => {
      this.#write()
      fdatasyncSync(this.#fd)
    })
    if (this.#failure !== undefined) throw this.#failure
  }

  /** Writes the lines that wait. */
  flush(): void {
    if (this.#failure === undefined) this.#attempt(() => this.#write())
  }

  /** Opens the file anew under its name, after the lines that wait have been written to the one that is open. */
  reopen(): void {
    if (this.#failure !== undefined) return
    this.#attempt(() => {
      this.#write()
      fdatasyncSync(this.#fd)
    })
    try {
      this.#open('reopened')
    } catch (error) {
      // Lines go on into the file that is open.
      this.#options.onFailure(auditFileRefused(this.#options.path, error), 0)
      return
    }
    this.flush()
  }

  /** Writes the lines that wait. Nothing may be added any more. */
  close(): void {
    clearTimeout(this.#timer)
    const waiting = this.#waiting
    this.#waiting = []
    this.#lines.push(this.#options.logLine({ action: 'closed', lost: this.#lost || undefined }))
    try {
      if (this.#failure !== undefined) this.#open('resumed')
      this.#write()
      fdatasyncSync(this.#fd)
      for (const { resolve } of waiting) resolve()
    } catch (error) {
      const failure = auditFailed(this.#options.path, error)
      for (const { reject } of waiting) reject(failure)
      this.#options.onFailure(failure, this.#lost + this.#lines.length - 1)
    }
    this.#closeLater(this.#fd)
    // The descriptor may become another file's. With a failure nothing is written.
    this.#fd = -1
    this.#failure = auditFailed(this.#options.path, new Error('the log is closed'))
  }

  /** One fsync for all that wait; those that come meanwhile wait for the next. */
  async #commit(): Promise<void> {
    this.#isCommitting = true
    while (this.#waiting.length > 0) {
      await nextTurn()
      const waiting = this.#waiting
      this.#waiting = []
      try {
        // A line that follows one that is not whole would become a part of it.
        if (this.#failure !== undefined) throw this.#failure
        this.#write()
        this.#syncing = sync(this.#fd)
        await this.#syncing
        for (const { resolve } of waiting) resolve()
      } catch (error) {
        const failure = this.#failure ?? this.#fail(error)
        for (const { reject } of [...waiting, ...this.#waiting.splice(0)]) reject(failure)
      }
      this.#syncing = undefined
    }
    this.#isCommitting = false
  }

  #attempt(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.#fail(error)
    }
  }

  /** Tries again until it succeeds. */
  #fail(cause: unknown): PoolsmithError {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const failure = auditFailed(this.#options.path, cause)
    const isNew = this.#failure === undefined
    this.#failure = failure
    this.#timer = inBackground(() => setTimeout(() => this.#retry(), RETRY_MILLIS).unref())
    if (isNew) this.#options.onFailure(failure, this.#lost)
    return failure
  }

  #retry(): void {
    this.#attempt(() => {
      this.#open('resumed')
      this.#write()
      fdatasyncSync(this.#fd)
      this.#failure = undefined
    })
  }

  /** Opens the file, and puts a line that says so in front of those that wait. */
  #open(action: LogFacts['action']): void {
    const { path, chain, logLine } = this.#options
    const isShared = assertSafeFolder(dirname(path))
    const fd = appendTrusted(path, { hardLinks: !isShared })
    const tail = readTail(fd)
    // Before that, a new file may be gone after a crash of the machine.
    if (tail.hash === null) syncFolderNow(dirname(path))
    if (this.#fd >= 0) this.#closeLater(this.#fd)
    this.#fd = fd
    if (chain) this.#chain ??= new Chain(tail.hash)
    this.#needsBreak = tail.needsBreak
    const torn = new Set(this.#telling?.torn)
    if (tail.isTorn && tail.hash !== null) torn.add(tail.hash)
    // The line of an attempt that failed has not been written.
    if (this.#telling !== undefined) this.#lines.shift()
    this.#telling = { torn, lost: this.#lost }
    this.#lines.unshift(
      logLine({ action, torn: torn.size === 0 ? undefined : [...torn], lost: this.#lost || undefined }),
    )
  }

  #closeLater(fd: number): void {
    if (this.#syncing === undefined) closeSync(fd)
    else void this.#syncing.catch(() => undefined).then(() => closeSync(fd))
  }

  /** Writes all lines; those that could not be written wait on. */
  #write(mayRecreate = true): void {
    if (this.#failure === undefined) {
      clearTimeout(this.#timer)
      this.#timer = undefined
    }
    if (this.#lines.length === 0) return
    const lines = this.#lines
    const undo = this.#chain?.mark()
    const written = this.#append(lines)
    // A line that is whole is kept by the file, although the next one is not.
    if (written.lines < lines.length || fstatSync(this.#fd).nlink === 0) {
      undo?.()
      const kept = written.error === undefined ? 0 : written.lines
      for (const line of lines.slice(0, kept)) this.#chain?.link(line.json)
      if (kept > 0) this.#told()
      this.#lines = lines.slice(kept)
      this.#length = this.#lines.reduce((sum, line) => sum + line.length, 0)
      if (written.error !== undefined) throw written.error
      // The file was removed.
      if (!mayRecreate) throw new Error('the file is removed again and again')
      this.#open('recreated')
      this.#write(false)
      return
    }
    this.#told()
    this.#lines = []
    this.#length = 0
    this.#needsBreak = false
  }

  /** The line about the log has been written. */
  #told(): void {
    this.#lost -= this.#telling?.lost ?? 0
    this.#telling = undefined
  }

  /** @returns how many lines are whole in the file, and the error that ended it */
  #append(lines: readonly AuditLine[]): { readonly lines: number; readonly error?: unknown } {
    const lineBreak = this.#needsBreak ? '\n' : ''
    let text = lineBreak
    for (const { json } of lines) text += `${this.#chain?.link(json) ?? json}\n`
    const bytes = Buffer.from(text)
    let written = 0
    try {
      while (written < bytes.length) written += writeSync(this.#fd, bytes, written)
      return { lines: lines.length }
    } catch (error) {
      return { lines: breaksIn(bytes.subarray(lineBreak.length, written)), error }
    }
  }
}

/** JSON on one line has none inside. */
function breaksIn(bytes: Uint8Array): number {
  let count = 0
  for (const byte of bytes) if (byte === 0x0a) count++
  return count
}

function syncFolderNow(folder: string): void {
  // Windows cannot open folders.
  if (process.platform === 'win32') return
  const fd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

const STICKY = 0o1000

/**
 * Another user who can rename files in the folder can put another file in the place of the log.
 *
 * @returns whether other users can make files in the folder, as in /tmp
 */
function assertSafeFolder(folder: string): boolean {
  const stats = statSync(folder)
  assertTrusted(folder, stats, { type: 'folder', forbiddenMode: (stats.mode & STICKY) === 0 ? 0o002 : 0 })
  return (stats.mode & 0o002) !== 0
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
