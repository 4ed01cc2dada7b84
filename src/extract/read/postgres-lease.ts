/** A session on loan from the pool: what runs on it ends with it, and it goes back clean or not at all. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Client } from 'pg'
import type { PoolsmithError } from '../../errors.ts'
import { type CopyConsumer, CopyOut } from './postgres-copy.ts'
import { endsSession, readFailure } from './postgres-failures.ts'
import { cancelStatement } from './postgres-session.ts'
import type { ExtractEngine } from './reader.ts'

/** How long the end of a transaction that has changed nothing may take. */
const ROLLBACK_MILLIS = 5000

/** A session on loan from the pool, and the statement that runs on it. */
export class Lease implements AsyncDisposable {
  readonly #engine: ExtractEngine
  readonly client: Client
  readonly table: string
  readonly signal: AbortSignal | undefined
  #copy: CopyOut<unknown> | undefined
  #lost = false
  #returned = false
  /** pg says on the client what it has said to the statement; unheard it would end the process. */
  readonly #onError = (): void => {
    this.#lost = true
  }

  constructor(engine: ExtractEngine, client: Client, table: string, signal: AbortSignal | undefined) {
    this.#engine = engine
    this.client = client
    this.table = table
    this.signal = signal
    client.on('error', this.#onError)
  }

  /** Runs short statements; the signal does not wait for them. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    const { promise: aborted, reject } = Promise.withResolvers<never>()
    const onAbort = (): void => reject(this.signal?.reason)
    this.signal?.addEventListener('abort', onAbort, { once: true })
    const working = work()
    try {
      this.signal?.throwIfAborted()
      return await Promise.race([working, aborted])
    } catch (error) {
      // The statement that may still be running is nobody's any more: the session cannot be used again.
      if (this.signal?.aborted) this.#lost = true
      working.catch(() => undefined)
      throw this.failure(error)
    } finally {
      this.signal?.removeEventListener('abort', onAbort)
    }
  }

  async *copy<Item>(text: string, consumer: CopyConsumer<Item>): AsyncGenerator<Item, number> {
    const copy = new CopyOut(text, consumer)
    this.#copy = copy as CopyOut<unknown>
    try {
      this.client.query(copy)
      for (let item = await copy.next(this.signal); item !== undefined; item = await copy.next(this.signal)) yield item
      return copy.rows
    } catch (error) {
      throw this.failure(error)
    }
  }

  failure(error: unknown): PoolsmithError {
    const failure = readFailure(error, this.table, this.signal)
    if (endsSession(failure)) this.#lost = true
    return failure
  }

  /** Cancels what still runs, ends the transaction and gives the session back: clean, or not at all. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#returned) return
    this.#returned = true
    const clean = await this.#clean()
    if (!clean) this.#engine.pool.invalidate(this.client)
    // A session that the pool closes may still has something to say about it.
    setImmediate(() => this.client.off('error', this.#onError))
    this.#engine.pool.release(this.client)
  }

  async #clean(): Promise<boolean> {
    if (this.#lost) return false
    const copy = this.#copy
    if (copy !== undefined && !copy.settled && !(await cancelStatement(this.#engine, this.client, copy))) return false
    try {
      const ended = this.client.query('rollback').then(() => true)
      return (await Promise.race([ended, sleep(ROLLBACK_MILLIS, false, { ref: false })])) && !this.#lost
    } catch {
      return false
    }
  }
}
