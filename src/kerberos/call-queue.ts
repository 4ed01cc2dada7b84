import { performance } from 'node:perf_hooks'
import { onAbort } from '../abort.ts'

/** A call that waits or runs, for the error of a caller that gave up. */
export interface CallInfo {
  /** `a service ticket for postgres@db`, as in "waiting for …". */
  readonly purpose: string
  /** The realm whose KDC is asked. It never holds more than one place, so that its silence leaves room for others. */
  readonly realm: string
  /** No KDC is asked: it does not wait behind one that is silent. */
  readonly local?: boolean
}

export interface QueueState {
  /** Whether the call had a place or was still waiting for one. */
  readonly running: boolean
  readonly waitedMillis: number
  /** The calls that hold the places, with how long they have run. */
  readonly ahead: readonly (CallInfo & { readonly runningMillis: number })[]
}

interface Running extends CallInfo {
  readonly since: number
}

interface Waiting extends CallInfo {
  readonly start: () => void
}

/**
 * Limits how many native calls run at a time. With a KDC that does not answer a call takes about half a minute and
 * cannot be stopped; on libuv's pool four of them would keep every `fs` and `dns` call of the process waiting. A caller
 * that gives up leaves at once; its call keeps the place to the end.
 */
export class CallQueue {
  readonly #limit: number
  readonly #running = new Set<Running>()
  readonly #waiting = new Set<Waiting>()

  constructor(limit: number) {
    this.#limit = limit
  }

  get size(): number {
    return this.#running.size + this.#waiting.size
  }

  /**
   * @param start starts the native call
   * @param options.abandon takes a result whose caller has given up
   * @param options.aborted makes the error of a caller that gave up
   */
  run<T>(
    info: CallInfo,
    start: () => Promise<T>,
    options: {
      readonly signal: AbortSignal | undefined
      readonly abandon?: ((result: T) => void) | undefined
      readonly aborted: (signal: AbortSignal, state: QueueState) => unknown
    },
  ): Promise<T> {
    const { signal, aborted, abandon } = options
    return new Promise<T>((resolve, reject) => {
      const since = performance.now()
      let given = false
      let running: Running | undefined
      const state = (): QueueState => {
        const now = performance.now()
        return {
          running: running !== undefined,
          waitedMillis: now - since,
          ahead: [...this.#running]
            .filter((other) => other !== running)
            .map(({ purpose, realm, since }) => ({ purpose, realm, runningMillis: now - since })),
        }
      }
      const giveUp = (): void => {
        given = true
        this.#waiting.delete(waiting)
        if (signal !== undefined) reject(aborted(signal, state()))
      }
      const waiting: Waiting = {
        ...info,
        start: () => {
          running = { ...info, since: performance.now() }
          const place = running
          this.#running.add(place)
          // A call that throws before it starts must give its place back too.
          Promise.resolve()
            .then(start)
            .finally(() => {
              listening[Symbol.dispose]()
              this.#running.delete(place)
              this.#startWaiting()
            })
            .then(
              (result) => (given ? abandon?.(result) : resolve(result)),
              (error: unknown) => reject(error),
            )
        },
      }
      if (signal?.aborted) {
        giveUp()
        return
      }
      const listening = onAbort(signal, giveUp)
      this.#waiting.add(waiting)
      this.#startWaiting()
    })
  }

  #startWaiting(): void {
    for (const next of this.#waiting) {
      if (this.#running.size >= this.#limit) return
      if (next.local !== true && [...this.#running].some((other) => other.realm === next.realm)) continue
      this.#waiting.delete(next)
      next.start()
    }
  }
}

/** The calls of this thread that may ask a KDC, which they do in a process of their own (kdc/ask.ts). */
export const kdcCalls = new CallQueue(8)

/** One place when libuv's pool was made small: the rest is for `fs` and `dns`. */
const poolSize = Number(process.env.UV_THREADPOOL_SIZE ?? 4)

/** Those that ask a KDC on libuv's pool: on Windows, and where no other process can be started. */
export const pooledCalls = new CallQueue(poolSize >= 4 ? 2 : 1)

/** The calls that need no network: one that does need it after all holds one thread at most. */
export const localCalls = new CallQueue(1)
