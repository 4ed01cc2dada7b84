import type { AuditFacts, AuditRecorder } from '../audit-facts.ts'
import type { PoolsmithError } from '../errors.ts'
import { currentContext } from './context.ts'
import { AuditLine, type Part } from './line.ts'
import { type AuditOptions, checkAuditOptions } from './options.ts'
import { processPart } from './process-part.ts'
import { type AuditSink, type OnFailure, openSink } from './sinks.ts'

/**
 * Opens an audit log, for several engines of a program or for operations that belong to none.
 *
 * @throws ConfigError; PoolsmithError AUDIT_FILE_REFUSED
 *
 * @example
 * await using log = openAuditLog({ file: '/var/log/sales/audit.jsonl', mode: 'required', chain: true })
 * await using db = await createEngine('sales', { audit: log })
 */
export function openAuditLog(options: AuditOptions): AuditLog {
  return new AuditLog(checkAuditOptions(options))
}

/** An open audit log. */
export class AuditLog implements AuditRecorder, AsyncDisposable {
  readonly mode: 'off' | 'on' | 'required'
  /** The part of a statement that lines have. */
  readonly query: 'hash' | 'text' | 'values'
  readonly #sink: AuditSink | undefined
  readonly #listeners = new Set<OnFailure>()

  /** Call {@link openAuditLog}, which checks the options. */
  constructor(options: AuditOptions) {
    const { mode = 'on', query = 'hash' } = options
    this.mode = mode
    this.query = query
    this.#sink = mode === 'off' ? undefined : openSink(options, (error, lost) => this.#tell(error, lost))
  }

  /** Listens to failures; without a listener each becomes a warning of the process. */
  onFailure(listener: OnFailure): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #tell(error: PoolsmithError, lost: number): void {
    if (this.#listeners.size === 0) process.emitWarning(error.message, { type: 'PoolsmithWarning', code: error.code })
    for (const listener of this.#listeners) listener(error, lost)
  }

  /** @param pool the facts of the pool that it belongs to */
  async record(facts: AuditFacts, ...pool: readonly Part[]): Promise<void> {
    const { kind, ...rest } = facts
    await this.settle(AuditLine.of(kind, inLineWords(rest), ...pool, processPart(), currentContext()))
  }

  /** Adds a line. @returns under `required` a promise that resolves when the line is durable, and rejects with AUDIT_FAILED */
  settle(line: AuditLine): Promise<void> | undefined {
    if (this.mode === 'required') return this.#sink?.takeDurably(line).catch(rejectOne)
    this.#sink?.take(line)
    return undefined
  }

  /** Adds a line without waiting for it. */
  take(line: AuditLine): void {
    this.#sink?.take(line)
  }

  /** Adds a line, which under `required` is durable when this returns. @throws PoolsmithError AUDIT_FAILED under `required` */
  takeNow(line: AuditLine): void {
    if (this.mode !== 'required') {
      this.#sink?.take(line)
      return
    }
    try {
      this.#sink?.takeNow(line)
    } catch (error) {
      throw notSent(error as PoolsmithError)
    }
  }

  /** Why nothing may be done now, under `required`. */
  get refusal(): PoolsmithError | undefined {
    const failure = this.mode === 'required' ? this.#sink?.failure : undefined
    if (failure === undefined) return undefined
    return notSent(failure)
  }

  /** Opens the file anew under its name, as SIGHUP does: for a worker thread, which gets no signals. */
  reopen(): void {
    this.#sink?.reopen()
  }

  /** Writes the lines that wait and closes the file. */
  async close(): Promise<void> {
    this.#sink?.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

function notSent(error: PoolsmithError): PoolsmithError {
  return error.with({ message: `${error.message} Nothing was sent.`, details: { sent: false } })
}

/** Each caller gets an error of its own: knex writes the statement into the message. */
function rejectOne(error: PoolsmithError): never {
  throw error.with({ details: { sent: true } })
}

/** `oldHash` becomes `old_hash`. */
function inLineWords(facts: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const named = Object.entries(facts).map(([name, value]) => {
    if (name === 'durationMillis') return ['duration_ms', value] as const
    return [name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`), value] as const
  })
  return Object.fromEntries(named)
}
