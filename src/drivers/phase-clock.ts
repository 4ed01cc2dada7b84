import type { Phase } from '../errors.ts'
import type { PlaceName } from '../hosts/place.ts'
import type { OpenContext } from './driver.ts'

/** Tells the phases of an opening on, and how long each took. */
export class PhaseClock {
  readonly #context: Pick<OpenContext, 'enter'>
  readonly #timings: Partial<Record<Phase, number>> = {}
  #phase: Phase = 'connect'
  #since: number | undefined

  constructor(context: Pick<OpenContext, 'enter'>) {
    this.#context = context
  }

  get phase(): Phase {
    return this.#phase
  }

  enter(phase: Phase, place?: PlaceName): void {
    this.stop()
    this.#phase = phase
    this.#since = performance.now()
    this.#context.enter(phase, place)
  }

  /** Adds the current phase's time, since a phase may come twice, and gives the sums. */
  stop(): Readonly<Partial<Record<Phase, number>>> {
    if (this.#since !== undefined) {
      this.#timings[this.#phase] = (this.#timings[this.#phase] ?? 0) + performance.now() - this.#since
      this.#since = undefined
    }
    return this.#timings
  }
}
