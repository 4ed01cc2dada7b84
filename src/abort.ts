/**
 * Waiting under an AbortSignal: the one place that listens to signals.
 *
 * Every function accepts a signal that has aborted already, and a promise that rejects after its caller has stopped
 * waiting never becomes an unhandled rejection.
 */

import { ConfigError } from './errors.ts'

interface Registration {
  readonly listener: () => void
}

/**
 * One DOM listener for each signal, however many wait on it: adding a listener to an EventTarget, and removing it,
 * compares it with all that are there, so that 40,000 waiters on one signal would block the event loop for a minute.
 */
const listening = new WeakMap<AbortSignal, { readonly all: Set<Registration>; readonly fire: () => void }>()

const NOTHING: Disposable = { [Symbol.dispose]: () => undefined }

/**
 * Whether a signal has aborted already.
 *
 * @throws ConfigError for anything but a signal, such as its controller; to be called before something is taken for a caller
 */
export function hasAborted(signal: AbortSignal | undefined): boolean {
  if (signal === undefined) return false
  // Not `instanceof`: a signal of another realm is one too, such as jsdom's.
  const { aborted, addEventListener } = (signal ?? {}) as Partial<AbortSignal>
  if (typeof aborted === 'boolean' && typeof addEventListener === 'function') return aborted
  throw new ConfigError([{ path: 'signal', message: 'is not an AbortSignal' }], {
    subject: 'The call',
    hint: 'Pass the `signal` of an AbortController, or AbortSignal.timeout(milliseconds).',
  })
}

/**
 * Calls `listener` once when the signal aborts; at once, before it returns, when it has aborted already.
 *
 * @param listener must not throw
 * @returns dispose it to stop listening; safe to do at any time
 *
 * @example
 * using _ = onAbort(signal, () => socket.destroy())
 */
export function onAbort(signal: AbortSignal | undefined, listener: () => void): Disposable {
  if (signal === undefined) return NOTHING
  if (hasAborted(signal)) {
    listener()
    return NOTHING
  }
  const { all, fire } = listening.get(signal) ?? listen(signal)
  const registration: Registration = { listener }
  all.add(registration)
  return {
    [Symbol.dispose]: () => {
      // A signal with a listener is kept in memory by Node, so the last one to leave removes it.
      if (!all.delete(registration) || all.size > 0 || signal.aborted) return
      signal.removeEventListener('abort', fire)
      listening.delete(signal)
    },
  }
}

function listen(signal: AbortSignal) {
  const all = new Set<Registration>()
  const fire = (): void => {
    listening.delete(signal)
    for (const registration of all) {
      // Deleted first: a listener that is disposed of by an earlier one is not called.
      all.delete(registration)
      registration.listener()
    }
  }
  const entry = { all, fire }
  listening.set(signal, entry)
  signal.addEventListener('abort', fire, { once: true })
  return entry
}

/**
 * The result of `work`, or a rejection with the signal's reason as soon as the signal aborts. The work itself may go on
 * after that; its late result goes to `discard`, its late rejection is dropped.
 *
 * @example
 * const addresses = await orAbort(lookup(host), signal)
 */
export function orAbort<T>(work: Promise<T>, signal: AbortSignal | undefined, discard?: (late: T) => void): Promise<T> {
  if (signal === undefined) return work
  return new Promise<T>((resolve, reject) => {
    let given = false
    const registration = onAbort(signal, () => {
      given = true
      reject(signal.reason)
    })
    work
      .then((value) => {
        if (given) discard?.(value)
        else resolve(value)
      })
      .catch(reject)
      .finally(() => registration[Symbol.dispose]())
  })
}

/** The rejection of {@link within}. */
export class LimitExceeded extends Error {
  override readonly name = 'LimitExceeded'
}

/**
 * The result of `work`, or a rejection with {@link LimitExceeded} after a {@link TimeLimit} of `millis` milliseconds. The
 * work itself may go on after that; its late rejection is dropped. The timer does not keep the process alive.
 */
export function within<T>(work: Promise<T>, millis: number): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const limit = new TimeLimit(millis, () => reject(new LimitExceeded(`Not done within ${millis} ms`)))
    work.then(resolve, reject).finally(() => limit[Symbol.dispose]())
  })
}

/** So many times in its course a limit looks whether the event loop has stood still. */
const SLICES = 4

/**
 * A time limit for an answer from the network. A stalled event loop is not the network's fault: time in which the loop
 * stood still counts as a quarter of the limit at most, and before the limit strikes, what has already arrived is taken
 * in. The timer does not keep the process alive.
 *
 * @example
 * using _ = new TimeLimit(5000, () => socket.destroy())
 */
export class TimeLimit implements Disposable {
  readonly #onStrike: () => void
  readonly #sliceMillis: number
  #slices = SLICES
  #startedAt = performance.now()
  #stalledMillis = 0
  #timer: NodeJS.Timeout | undefined
  #ended = false

  /** @param onStrike called once, unless the limit is disposed of before; must not throw */
  constructor(millis: number, onStrike: () => void) {
    this.#onStrike = onStrike
    this.#sliceMillis = millis / SLICES
    this.#wait()
  }

  /** How long the event loop has stood still so far, as far as it was noticed. */
  get stalledMillis(): number {
    return this.#stalledMillis
  }

  [Symbol.dispose](): void {
    this.#ended = true
    clearTimeout(this.#timer)
  }

  #wait(): void {
    this.#timer = setTimeout(() => void this.#next(), this.#sliceMillis).unref()
  }

  async #next(): Promise<void> {
    const now = performance.now()
    this.#stalledMillis += Math.max(0, now - this.#startedAt - this.#sliceMillis)
    this.#startedAt = now
    if (--this.#slices > 0) {
      this.#wait()
      return
    }
    await nextPoll()
    if (!this.#ended) this.#onStrike()
  }
}

/**
 * Resolves once the event loop has taken in what has already arrived from the network. To be awaited before a session
 * or a time limit is judged: timers come before sockets in a turn of the loop.
 */
export async function nextPoll(): Promise<void> {
  // Wherever in its turn the loop is, it polls between the two.
  for (let turns = 0; turns < 2; turns++) await new Promise((resolve) => setImmediate(resolve))
}

export interface PauseOptions {
  readonly signal?: AbortSignal | undefined
  /** True: the pause does not keep the process alive. Default false. */
  readonly background?: boolean | undefined
}

/** Resolves after `millis` milliseconds. @throws the signal's reason */
export function pause(millis: number, { signal, background = false }: PauseOptions = {}): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      registration[Symbol.dispose]()
      resolve()
    }, millis)
    if (background) timer.unref()
    const registration = onAbort(signal, () => {
      clearTimeout(timer)
      reject(signal?.reason)
    })
  })
}
