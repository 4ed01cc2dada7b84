/**
 * Rows that the server sends at its own pace, handed to a reader at the reader's pace: while items wait to be taken,
 * the source rests.
 */

import { onAbort } from '../abort.ts'
import { asError } from '../any-error.ts'

/** How long bytes gather before they are read. */
const REST_MILLIS = 1

/** Where the bytes of a statement's answer come from. */
export interface PullSource {
  pause(): void
  resume(): void
  /**
   * Asks the server to end the statement. Absent where it cannot be asked on this connection: then the rest of the
   * answer is read and dropped.
   */
  stop?(): void
}

/** The items of one statement between its source and its reader. */
export class Pull<Item> {
  readonly #source: PullSource
  readonly #ready: Item[] = []
  #failure: Error | undefined
  #paused = false
  #rest: NodeJS.Timeout | undefined
  #discarding = false
  #settled = false
  #wake: (() => void) | undefined

  constructor(source: PullSource) {
    this.#source = source
  }

  /** Whether the server has ended the statement, well or badly: the session is free for the next one. */
  get settled(): boolean {
    return this.#settled
  }

  /** Whether items that still come are dropped. */
  get discarding(): boolean {
    return this.#discarding
  }

  /**
   * Takes the items that `make` returns. Its error is kept for the reader, and the rest of the answer is dropped.
   */
  take(make: () => readonly Item[]): void {
    if (this.#discarding) return
    try {
      for (const item of make()) this.#ready.push(item)
    } catch (error) {
      this.fail(error)
    }
  }

  /** The reader gets this error; the rest of the answer is dropped. */
  fail(error: unknown): void {
    this.#failure ??= asError(error)
    this.#drop()
  }

  /** Wakes the reader, and lets the source rest while an item waits to be taken. */
  offer(): void {
    if (this.#ready.length > 0 && !this.#settled && !this.#paused) {
      this.#paused = true
      if (this.#rest === undefined) this.#source.pause()
    }
    this.#wake?.()
  }

  /**
   * Lets the source rest for a moment in which bytes gather, since all have been read. A server sends few at a time, and
   * being woken for each costs more than reading them.
   */
  rest(): void {
    if (this.#settled || this.#paused || this.#rest !== undefined) return
    this.#source.pause()
    this.#rest = setTimeout(() => this.#endRest(), REST_MILLIS)
  }

  #endRest(): void {
    if (this.#rest === undefined) return
    clearTimeout(this.#rest)
    this.#rest = undefined
    if (!this.#paused) this.#source.resume()
  }

  /** @param error what ended the statement, if it ended badly */
  settle(error?: Error): void {
    this.#settled = true
    // The session may go on.
    this.#endRest()
    if (error !== undefined) this.#failure ??= error
    this.#wake?.()
  }

  /**
   * The next item, or undefined after the last one.
   *
   * @throws the server's or the socket's error, what the consumer threw, or the signal's reason
   */
  async next(signal?: AbortSignal): Promise<Item | undefined> {
    for (;;) {
      signal?.throwIfAborted()
      if (this.#failure !== undefined) throw this.#failure
      const item = this.#ready.shift()
      if (item !== undefined) return item
      // Not earlier: until the server is ready for the next statement the source must not rest.
      if (this.#settled) return undefined
      this.#resume()
      await this.#change(signal)
    }
  }

  /**
   * Drops all that still comes, until the server has ended the statement or the signal aborts.
   *
   * @returns whether the statement has ended
   */
  async discard(signal: AbortSignal): Promise<boolean> {
    this.#drop()
    while (!this.#settled && !signal.aborted) await this.#change(signal)
    return this.#settled
  }

  #drop(): void {
    this.#discarding = true
    this.#ready.length = 0
    if (this.#settled) return
    if (this.#source.stop === undefined) {
      this.#resume()
    } else {
      this.#paused = false
      this.#source.stop()
    }
  }

  #resume(): void {
    if (!this.#paused) return
    this.#paused = false
    if (this.#rest === undefined) this.#source.resume()
  }

  async #change(signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#wake = resolve
    using _ = onAbort(signal, resolve)
    await promise
    this.#wake = undefined
  }
}
