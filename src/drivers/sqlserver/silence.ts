import { inBackground } from '../../tracing.ts'

/** Before a silent server is given up on, what has arrived meanwhile gets its turn: our own thread may have been busy. */
const SECOND_LOOK_MILLIS = 50

export interface SilenceWatchOptions {
  readonly limitMillis: number
  /** Whether a statement runs, and whether its reader holds it up. */
  readonly state: () => 'idle' | 'paused' | 'running'
  /** Called once for a statement whose server has gone silent. */
  readonly onSilence: () => void
}

/**
 * Notices a server that falls silent in the middle of an answer. Time in which the reader holds the answer up does not
 * count. One timer for the connection, which is set again only when it has run out: a piece of data costs a look at
 * the clock.
 */
export class SilenceWatch {
  readonly #options: SilenceWatchOptions
  #heardAt = 0
  #timer: NodeJS.Timeout | undefined

  constructor(options: SilenceWatchOptions) {
    this.#options = options
  }

  /** Something has arrived, or the reader goes on. */
  readonly heard = (): void => {
    this.#heardAt = performance.now()
    if (this.#timer === undefined) this.#set(this.#options.limitMillis)
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #set(millis: number, suspicious = false): void {
    this.#timer = inBackground(() => setTimeout(() => this.#look(suspicious), millis).unref())
  }

  #look(suspicious: boolean): void {
    const { limitMillis, state, onSilence } = this.#options
    this.#timer = undefined
    const found = state()
    if (found === 'idle') return
    const left = found === 'paused' ? limitMillis : this.#heardAt + limitMillis - performance.now()
    if (left > 0) this.#set(left)
    else if (suspicious) onSilence()
    else this.#set(SECOND_LOOK_MILLIS, true)
  }
}
