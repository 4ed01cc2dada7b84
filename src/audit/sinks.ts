/** Where the lines of an audit log go: a file, a logger, or a function. */

import { resolve } from 'node:path'
import { ConfigError, type PoolsmithError } from '../errors.ts'
import { auditFailed } from './failure.ts'
import { AuditFile, type LogFacts } from './file.ts'
import { AuditLine } from './line.ts'
import type { AuditOptions } from './options.ts'
import { processPart } from './process-part.ts'

export interface AuditSink {
  /** Why lines cannot be taken now. */
  readonly failure: PoolsmithError | undefined
  /** Adds a line soon. Never throws. */
  take(line: AuditLine): void
  /** Resolves when the line is durable. @throws PoolsmithError AUDIT_FAILED */
  takeDurably(line: AuditLine): Promise<void>
  /** Adds a line before it returns. @throws PoolsmithError AUDIT_FAILED */
  takeNow(line: AuditLine): void
  reopen(): void
  close(): void
}

/** Is told of failures; `lost`: lines that will never be written. */
export type OnFailure = (error: PoolsmithError, lost: number) => void

/** @throws PoolsmithError AUDIT_FILE_REFUSED, ConfigError */
export function openSink({ file, chain = false, logger, sink }: AuditOptions, onFailure: OnFailure): AuditSink {
  if (file !== undefined) return shareFile(resolve(file), chain, onFailure)
  if (logger !== undefined) {
    const flush = async (): Promise<void> => {
      if (typeof logger.flush !== 'function') return
      await new Promise<void>((done, fail) => logger.flush?.((error) => (error ? fail(error) : done())))
    }
    return new CallSink('the logger', (line) => logger.info(line.event, 'audit'), flush, onFailure)
  }
  return new CallSink(
    'the function',
    (line) => sink?.(line.event),
    async () => undefined,
    onFailure,
  )
}

/** A function that takes each event. */
class CallSink implements AuditSink {
  readonly failure = undefined
  readonly #target: string
  readonly #call: (line: AuditLine) => Promise<void> | void
  readonly #flush: () => Promise<void>
  readonly #onFailure: OnFailure

  constructor(target: string, call: CallSink['take'], flush: () => Promise<void>, onFailure: OnFailure) {
    this.#target = target
    this.#call = call
    this.#flush = flush
    this.#onFailure = onFailure
  }

  take(line: AuditLine): void {
    const lost = (error: unknown): void => this.#onFailure(auditFailed(this.#target, error), 1)
    try {
      this.#call(line)?.then?.(undefined, lost)
    } catch (error) {
      lost(error)
    }
  }

  async takeDurably(line: AuditLine): Promise<void> {
    try {
      await this.#call(line)
      await this.#flush()
    } catch (error) {
      throw this.#failed(error)
    }
  }

  takeNow(line: AuditLine): void {
    try {
      this.#call(line)?.then?.(undefined, (error: unknown) => void this.#failed(error))
    } catch (error) {
      throw this.#failed(error)
    }
  }

  #failed(cause: unknown): PoolsmithError {
    const error = auditFailed(this.#target, cause)
    this.#onFailure(error, 1)
    return error
  }

  reopen(): void {
    // There is nothing to open.
  }

  close(): void {
    // The logger is its owner's.
  }
}

interface Shared {
  readonly file: AuditFile
  readonly chain: boolean
  readonly listeners: Set<OnFailure>
}

/** By path: two writers of one process would not know of each other's lines. */
const files = new Map<string, Shared>()

function shareFile(path: string, chain: boolean, onFailure: OnFailure): AuditSink {
  const shared = files.get(path) ?? openFile(path, chain)
  if (shared.chain !== chain) {
    const message = `another log of this process writes ${path} ${shared.chain ? 'with' : 'without'} a chain`
    throw new ConfigError([{ path: 'chain', message }], { subject: 'The audit log' })
  }
  shared.listeners.add(onFailure)
  const { file, listeners } = shared
  return {
    get failure() {
      return file.failure
    },
    take: (line) => file.take(line),
    takeDurably: (line) => file.takeDurably(line),
    takeNow: (line) => file.takeNow(line),
    reopen: () => file.reopen(),
    close: () => {
      if (!listeners.has(onFailure)) return
      if (listeners.size > 1) {
        file.flush()
        listeners.delete(onFailure)
        return
      }
      file.close()
      listeners.delete(onFailure)
      files.delete(path)
      if (files.size === 0) process.off('exit', flushAll).off('SIGHUP', reopenAll)
    },
  }
}

function openFile(path: string, chain: boolean): Shared {
  const listeners = new Set<OnFailure>()
  const onFailure: OnFailure = (error, lost) => {
    for (const listener of listeners) listener(error, lost)
  }
  const file = new AuditFile({ path, chain, logLine, onFailure })
  const shared = { file, chain, listeners }
  if (files.size === 0) process.on('exit', flushAll).on('SIGHUP', reopenAll)
  files.set(path, shared)
  return shared
}

function logLine({ action, torn, lost }: LogFacts): AuditLine {
  return AuditLine.of('log', { action, torn, lost }, processPart())
}

function flushAll(): void {
  for (const { file } of files.values()) file.flush()
}

function reopenAll(): void {
  for (const { file } of files.values()) file.reopen()
}
