import type { Phase } from '../errors.ts'
import type { EventOrigin } from '../events.ts'
import { begin, type ConnectTrace, type PhaseTrace, withinTrace } from '../tracing.ts'

/** Tells of the steps of one attempt, each of which ends when the next begins. */
export class PhaseTracer {
  readonly #connect: ConnectTrace
  #context: PhaseTrace | undefined
  #finish: ((failure?: { readonly error: unknown }) => void) | undefined

  constructor(connect: ConnectTrace) {
    this.#connect = connect
  }

  /** @param place the server that is tried, if the step is about one */
  enter(phase: Phase, place: Pick<EventOrigin, 'host' | 'port'> = this.#connect): void {
    this.end()
    const { poolName, system, database } = this.#connect
    const { host, port } = place
    this.#context = { poolName, system, host, port, database, phase, connect: this.#connect }
    this.#finish = begin('connect:phase', this.#context)
  }

  /** Does work of the present step that a subscriber may have in its context. */
  within<T>(work: () => T): T {
    return withinTrace(this.#context, work)
  }

  end(failure?: { readonly error: unknown }): void {
    this.#finish?.(failure)
    this.#finish = undefined
  }
}
