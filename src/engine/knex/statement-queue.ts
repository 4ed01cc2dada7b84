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
 * The driver would queue them too, but could not say which of them is running, nor take one back.
 */
export class StatementQueue {
  #running: object | undefined
  /** Cancel requests that are on their way: until they have arrived, they would hit any statement that is sent. */
  #cancelling = 0
  readonly #waiting: Waiting[] = []
  #onIdle: (() => void)[] = []

  /** The queue of a connection. */
  static of(connection: object): StatementQueue {
    const place = connection as Queued
    place[QUEUE] ??= new StatementQueue()
    return place[QUEUE]
  }

  /** Takes back all that waits on a connection that its user returns. What still runs is ended by the pool. */
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
   * Sends a statement when its turn has come: at once, before this returns, where none runs.
   *
   * @param statement stands for it in {@link withdraw} and {@link cancel}
   * @param send resolves or rejects when the connection can take the next one; does not throw
   */
  run<T>(statement: object, send: () => Promise<T>): Promise<T> {
    if (this.idle) return this.#send(statement, send)
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ statement, send: () => this.#send(statement, send).then(resolve, reject), reject })
    })
  }

  /** Takes a statement back that waits, and rejects it. False when it does not wait (any more). */
  withdraw(statement: object): boolean {
    const index = this.#waiting.findIndex((waiting) => waiting.statement === statement)
    const [waiting] = index < 0 ? [] : this.#waiting.splice(index, 1)
    waiting?.reject(takenBack())
    return waiting !== undefined
  }

  /**
   * Ends a statement, where it is the one that runs. The next one is sent after both its end and the request's.
   *
   * @param request asks the server to end what the connection is running
   */
  async cancel(statement: object, request: () => Promise<void>): Promise<void> {
    if (this.#running !== statement) return
    await this.#cancel(request)
  }

  /** Takes back all that waits, ends what runs, and resolves when nothing is left. */
  async clear(request: () => Promise<void>): Promise<void> {
    this.#rejectWaiting()
    if (this.#running !== undefined) await this.#cancel(request)
    await this.untilIdle()
  }

  /** Resolves when nothing runs or waits. */
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
