/** A session on loan from the pool: what runs on it ends with it, and it goes back clean or not at all. */

import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Client } from 'pg'
import { orAbort } from '../../abort.ts'
import type { PoolsmithError } from '../../errors.ts'
import { type CopyConsumer, CopyOut } from './postgres-copy.ts'
import { endsSession, readFailure } from './postgres-failures.ts'
import { cancelStatement, type Running } from './postgres-session.ts'
import type { ExtractEngine } from './reader.ts'

/** How long a statement is that is not worth cancelling. */
const SHORT_MILLIS = 100
/** How long the end of a transaction that has changed nothing may take. */
const ROLLBACK_MILLIS = 5000

/** A session on loan from the pool, and the statement that runs on it. */
export class Lease implements AsyncDisposable {
  readonly #engine: ExtractEngine
  readonly client: Client
  readonly table: string
  readonly signal: AbortSignal | undefined
  #running: Running | undefined
  #lost = false
  #returned = false
  #tellLost: ((error: PoolsmithError) => void) | undefined
  /** pg says on the client what it has said to the statement; unheard it would end the process. */
  readonly #onError = (error: Error): void => {
    // pg has two things to say: that the server ended the session, and that it is over.
    if (!this.#lost) this.#tellLost?.(readFailure(error, this.table, undefined))
    this.#lost = true
  }

  constructor(engine: ExtractEngine, client: Client, table: string, signal: AbortSignal | undefined) {
    this.#engine = engine
    this.client = client
    this.table = table
    this.signal = signal
    client.on('error', this.#onError)
  }

  /** Runs statements that give a few rows at most. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    try {
      this.signal?.throwIfAborted()
      const working = work()
      this.#running = runningUntil(working)
      return await orAbort(working, this.signal)
    } catch (error) {
      throw this.failure(error)
    }
  }

  async *copy<Item>(text: string, consumer: CopyConsumer<Item>): AsyncGenerator<Item, number> {
    const copy = new CopyOut(text, consumer)
    this.#running = copy
    try {
      this.client.query(copy)
      for (let item = await copy.next(this.signal); item !== undefined; item = await copy.next(this.signal)) yield item
      return copy.rows
    } catch (error) {
      throw this.failure(error)
    }
  }

  /** At once, also while no statement runs. */
  onLost(tell: (error: PoolsmithError) => void): void {
    this.#tellLost = tell
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
    const running = this.#running
    // A short statement ends by itself before another session could ask for it.
    if (!(running instanceof CopyOut)) await running?.discard(AbortSignal.timeout(SHORT_MILLIS))
    if (running !== undefined && !running.settled && !(await cancelStatement(this.#engine, this.client, running))) {
      return false
    }
    try {
      const ended = this.client.query('rollback').then(() => true)
      return (await Promise.race([ended, sleep(ROLLBACK_MILLIS, false, { ref: false })])) && !this.#lost
    } catch {
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
    discard: (signal) => Promise.race([ended, once(signal, 'abort').then(() => undefined)]),
  }
}
