import { AsyncResource } from 'node:async_hooks'

interface Waiting {
  readonly statement: object
  readonly send: () => void
  readonly reject: (error: Error) => void
}

const QUEUE = Symbol('statements')

interface Queued {
  [QUEUE]?: StatementQueue | undefined
}

/**
 * The statements of one connection, which runs one at a time; in a transaction several may be asked for at once.
 *
 * The drivers could queue them too, but do not say which one is running, and cannot take one back.
 */
export class StatementQueue {
  #running: object | undefined
  /** Cancel requests under way. Until they have arrived, they would end any statement that is sent. */
  #cancelling = 0
  readonly #waiting: Waiting[] = []
  #onIdle: (() => void)[] = []

  /** The queue of a connection. */
  static of(connection: object): StatementQueue {
    const place = connection as Queued
    place[QUEUE] ??= new StatementQueue()
    return place[QUEUE]
  }

  /** Takes back the statements that wait on a connection that is returned. The pool ends the one that runs. */
  static leave(connection: object): void {
    const place = connection as Queued
    const queue = place[QUEUE]
    if (queue === undefined || queue.idle) return
    place[QUEUE] = undefined
    queue.#rejectWaiting()
  }

  get idle(): boolean {
    return this.#running === undefined && this.#cancelling === 0 && this.#waiting.length === 0
  }

  /**
   * Sends a statement in its turn: at once, before this returns, if none runs.
   *
   * @param statement identifies it for {@link withdraw} and {@link cancel}
   * @param send resolves or rejects when the connection can take the next one; does not throw
   */
  run<T>(statement: object, send: () => Promise<T>): Promise<T> {
    if (this.idle) return this.#send(statement, send)
    return new Promise<T>((resolve, reject) => {
      // In the context of its caller, although the statement before sends it.
      const sendLater = AsyncResource.bind(() => void this.#send(statement, send).then(resolve, reject))
      this.#waiting.push({ statement, send: sendLater, reject })
    })
  }

  /** Takes back a statement that waits, and rejects it. False when it does not wait. */
  withdraw(statement: object): boolean {
    const index = this.#waiting.findIndex((waiting) => waiting.statement === statement)
    const [waiting] = index < 0 ? [] : this.#waiting.splice(index, 1)
    waiting?.reject(takenBack())
    return waiting !== undefined
  }

  /**
   * Ends a statement if it is the one that runs. The next one is sent after its end and after the request.
   *
   * @param request asks the server to end the running statement of the connection
   */
  async cancel(statement: object, request: () => Promise<void>): Promise<void> {
    if (this.#running !== statement) return
    await this.#cancel(request)
  }

  /** Takes back the statements that wait, ends the one that runs, and resolves when none is left. */
  async clear(request: () => Promise<void>): Promise<void> {
    this.#rejectWaiting()
    if (this.#running !== undefined) await this.#cancel(request)
    await this.untilIdle()
  }

  /** Resolves when no statement runs or waits. */
  untilIdle(): Promise<void> {
    return this.idle ? Promise.resolve() : new Promise((resolve) => this.#onIdle.push(resolve))
  }

  async #cancel(request: () => Promise<void>): Promise<void> {
    this.#cancelling++
    try {
      await request()
    } finally {
      this.#cancelling--
      this.#next()
    }
  }

  #send<T>(statement: object, send: () => Promise<T>): Promise<T> {
    this.#running = statement
    const ended = (): void => {
      this.#running = undefined
      this.#next()
    }
    const work = send()
    work.then(ended, ended)
    return work
  }

  #next(): void {
    if (this.#running !== undefined || this.#cancelling > 0) return
    const next = this.#waiting.shift()
    if (next !== undefined) {
      next.send()
      return
    }
    const listeners = this.#onIdle
    if (listeners.length === 0) return
    this.#onIdle = []
    for (const listener of listeners) listener()
  }

  #rejectWaiting(): void {
    for (const { reject } of this.#waiting.splice(0)) reject(takenBack())
  }
}

function takenBack(): Error {
  return new Error('The statement was taken back before it was sent: its time limit passed, or its transaction ended.')
}
