/** The acquires that have to wait: first come, first served, each with its own time limit. */

import { nextPoll, onAbort } from '../abort.ts'

/** One acquire that waits. `T` is what it waits for. */
export interface Waiter<T> {
  /** When it began to wait, on the pool's clock. */
  readonly since: number
  /** The stack of its acquire, when leak detection asks for it. */
  readonly site: Error | undefined
  readonly resolve: (item: T) => void
  readonly reject: (error: unknown) => void
}

export interface WaiterOptions<T> {
  readonly since: number
  readonly millis: number
  readonly site: Error | undefined
  readonly signal: AbortSignal | undefined
  /** Makes the error when `millis` have passed. `lateMillis`: how much later the event loop came to it. */
  readonly onTimeout: (waiter: Waiter<T>, lateMillis: number) => unknown
  /** Makes the error when the signal aborts. */
  readonly onAbort: () => unknown
}

export class Waiters<T> {
  // A Set keeps the order of arrival and forgets one in the middle at no cost.
  readonly #queue = new Set<Waiter<T>>()

  get size(): number {
    return this.#queue.size
  }

  /** Queues one acquire. Its timer keeps the process alive: the caller waits for the answer. */
  add(options: WaiterOptions<T>): Promise<T> {
    const { since, millis, site, signal } = options
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    const leave = (): boolean => {
      clearTimeout(timer)
      registration?.[Symbol.dispose]()
      return this.#queue.delete(waiter)
    }
    const waiter: Waiter<T> = {
      since,
      site,
      resolve: (item) => {
        if (leave()) resolve(item)
      },
      reject: (error) => {
        if (leave()) reject(error)
      },
    }
    const startedAt = performance.now()
    const strike = async (): Promise<void> => {
      const lateMillis = performance.now() - startedAt - millis
      // The data that has arrived may be the awaited answer.
      await nextPoll()
      if (this.#queue.has(waiter)) waiter.reject(options.onTimeout(waiter, lateMillis))
    }
    const timer = setTimeout(() => void strike(), millis)
    let registration: Disposable | undefined
    this.#queue.add(waiter)
    registration = onAbort(signal, () => waiter.reject(options.onAbort()))
    return promise
  }

  /** The one that has waited for longest. */
  get first(): Waiter<T> | undefined {
    return this.#queue.values().next().value
  }

  /** Rejects those that began to wait at this time or before. */
  rejectSince(since: number, error: unknown): void {
    // A copy: a rejection can be followed by another acquire only later, but an abort may come in between.
    for (const waiter of [...this.#queue]) {
      if (waiter.since <= since) waiter.reject(error)
    }
  }

  rejectAll(error: unknown): void {
    this.rejectSince(Number.POSITIVE_INFINITY, error)
  }
}
