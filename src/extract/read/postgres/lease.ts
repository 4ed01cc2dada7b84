/** A session borrowed from the pool, and the statement that runs on it. */

import type { Client } from 'pg'
import { orAbort, within } from '../../../abort.ts'
import { type CopyConsumer, CopyOut } from '../../../drivers/postgres/copy.ts'
import type { PoolsmithError } from '../../../errors.ts'
import type { ExtractEngine } from '../table.ts'
import { endsSession, readFailure } from './failures.ts'
import { cancelStatement, type Running } from './session.ts'

/** A statement that ends within this time is not cancelled. */
const SHORT_MILLIS = 100
/** How long a rollback of a transaction that has changed nothing may take. */
const ROLLBACK_MILLIS = 5000

/** Disposing it ends all that runs on the session, and returns the session to the pool clean or closed. */
export class Lease implements AsyncDisposable {
  readonly #engine: ExtractEngine
  readonly client: Client
  readonly #shown: string
  readonly #signal: AbortSignal | undefined
  #running: Running | undefined
  #lost = false
  #returned = false
  #tellLost: ((error: PoolsmithError) => void) | undefined
  /** pg emits the error of a lost session on the client too; without a listener it would end the process. */
  readonly #onError = (error: Error): void => {
    // pg emits it twice: when the server ends the session, and when the connection closes.
    if (!this.#lost) this.#tellLost?.(readFailure(error, this.#shown, undefined))
    this.#lost = true
  }

  /** @param shown the table or query, for errors */
  constructor(engine: ExtractEngine, client: Client, shown: string, signal: AbortSignal | undefined) {
    this.#engine = engine
    this.client = client
    this.#shown = shown
    this.#signal = signal
    client.on('error', this.#onError)
  }

  /** Runs short statements. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    try {
      this.#signal?.throwIfAborted()
      const working = work()
      this.#running = runningUntil(working)
      return await orAbort(working, this.#signal)
    } catch (error) {
      throw this.failure(error)
    }
  }

  /** Runs a COPY; returns the number of rows that the server says it sent. */
  async *copy<Item>(text: string, consumer: CopyConsumer<Item>): AsyncGenerator<Item, number> {
    const copy = new CopyOut(text, consumer)
    this.#running = copy
    try {
      this.client.query(copy)
      for (;;) {
        const item = await copy.next(this.#signal)
        if (item === undefined) return copy.rows
        yield item
      }
    } catch (error) {
      throw this.failure(error)
    }
  }

  /** Calls `tell` as soon as the session is lost, also while no statement runs. */
  onLost(tell: (error: PoolsmithError) => void): void {
    this.#tellLost = tell
  }

  failure(error: unknown): PoolsmithError {
    const failure = readFailure(error, this.#shown, this.#signal)
    if (endsSession(failure)) this.#lost = true
    return failure
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#returned) return
    this.#returned = true
    const clean = await this.#clean()
    if (!clean) this.#engine.pool.invalidate(this.client)
    // A session that the pool closes may still emit an error about that.
    setImmediate(() => this.client.off('error', this.#onError))
    this.#engine.pool.release(this.client)
  }

  async #clean(): Promise<boolean> {
    if (this.#lost) return false
    const running = this.#running
    // A short statement ends by itself before another session could cancel it.
    if (!(running instanceof CopyOut)) await running?.discard(AbortSignal.timeout(SHORT_MILLIS))
    if (running !== undefined && !running.settled && !(await cancelStatement(this.client, running))) {
      return false
    }
    try {
      await within(this.client.query('rollback'), ROLLBACK_MILLIS)
      return !this.#lost
    } catch {
      // The pool closes it.
      return false
    }
  }
}

function runningUntil(working: Promise<unknown>): Running {
  let settled = false
  const ended = working
    .catch(() => undefined)
    .then(() => {
      settled = true
    })
  return {
    get settled() {
      return settled
    },
    discard: (signal) => orAbort(ended, signal).catch(() => undefined),
  }
}
