import { TimeLimit } from './abort.ts'

/**
 * A signal that a {@link TimeLimit} aborts, and the given one, if any, does too: for a request to a peer. Dispose it when the
 * answer is there.
 *
 * @example
 * using limited = new LimitedSignal(signal, 5000)
 * const answer = await ask(limited.signal)
 */
export class LimitedSignal implements Disposable {
  readonly signal: AbortSignal
  readonly #over = new AbortController()
  readonly #limit: TimeLimit

  constructor(signal: AbortSignal | undefined, millis: number) {
    this.signal = signal === undefined ? this.#over.signal : AbortSignal.any([signal, this.#over.signal])
    this.#limit = new TimeLimit(millis, () => this.#over.abort())
  }

  /** Whether the time was up. */
  get hasStruck(): boolean {
    return this.#over.signal.aborted
  }

  [Symbol.dispose](): void {
    this.#limit[Symbol.dispose]()
  }
}
