/** The acquires that have to wait: first come, first served, each with its own deadline. */

/** One acquire that waits. `T` is what it waits for. */
export interface Waiter<T> {
  /** When it began to wait, on the pool's clock. */
  readonly since: number
  /** The stack of its acquire, when leak detection asks for it. */
  readonly site: Error | undefined
  readonly resolve: (item: T) => void
  readonly reject: (error: unknown) => void
}

export class Waiters<T> {
  // A Set keeps the order of arrival and forgets one in the middle at no cost.
  readonly #queue = new Set<Waiter<T>>()

  get size(): number {
    return this.#queue.size
  }

  /**
   * Queues one acquire. Its timer holds the process: somebody waits for the answer.
   *
   * @param onTimeout makes the error when `millis` are over
   * @param onAbort makes the error when the signal aborts
   */
  add(options: {
    readonly since: number
    readonly millis: number
    readonly site: Error | undefined
    readonly signal: AbortSignal | undefined
    readonly onTimeout: (waiter: Waiter<T>) => unknown
    readonly onAbort: (signal: AbortSignal) => unknown
  }): Promise<T> {
    const { signal } = options
    return new Promise<T>((resolve, reject) => {
      const leave = (): void => {
        this.#queue.delete(waiter)
        clearTimeout(timer)
        signal?.removeEventListener('abort', abort)
      }
      const waiter: Waiter<T> = {
        since: options.since,
        site: options.site,
        resolve: (item) => {
          leave()
          resolve(item)
        },
        reject: (error) => {
          leave()
          reject(error)
        },
      }
      const abort = (): void => waiter.reject(options.onAbort(signal as AbortSignal))
      const timer = setTimeout(() => waiter.reject(options.onTimeout(waiter)), options.millis)
      signal?.addEventListener('abort', abort, { once: true })
      this.#queue.add(waiter)
    })
  }

  /** The one that has waited for longest. */
  get first(): Waiter<T> | undefined {
    return this.#queue.values().next().value
  }

  rejectAll(error: unknown): void {
    for (const waiter of [...this.#queue]) waiter.reject(error)
  }
}
