/**
 * The bookkeeping of connections, on tarn: which are used, which are free, how many are being opened and closed.
 *
 * tarn has the limit, the two lists (the free one is a stack, so that unused connections stay idle) and the counts of
 * creates and destroys in flight. Its queue of acquires, validation and retries are not used: there a caller whose time
 * limit has passed can take a resource with it, a failed create is tried again every 200 ms for each caller, a failed
 * validation costs a turn of the event loop each, and the reaper's interval keeps the process alive.
 * This is the only file that knows tarn; test/unit/pool/shelf.test.ts says what it relies on.
 */

import { Pool } from 'tarn'

/** The longest delay that setTimeout knows: tarn's own limits never apply, the pool's do. */
const NEVER_MILLIS = 2 ** 31 - 1

export interface ShelfOptions<T extends object> {
  readonly max: number
  /** Opens one; holds its own time limit. */
  readonly create: () => Promise<T>
  /** Closes one; holds its own time limit, never rejects. */
  readonly destroy: (item: T) => Promise<void>
}

export class Shelf<T extends object> extends Pool<T> {
  constructor(options: ShelfOptions<T>) {
    super({
      min: 0,
      max: options.max,
      create: () => options.create(),
      destroy: options.destroy,
      createTimeoutMillis: NEVER_MILLIS,
      destroyTimeoutMillis: NEVER_MILLIS,
    })
  }

  /** Whether one more may be opened. */
  get hasRoom(): boolean {
    return this.used.length + this.free.length + this.pendingCreates.length < this.max
  }

  /** The free one that was used last. */
  get top(): T | undefined {
    return this.free[this.free.length - 1]?.resource
  }

  /** The free one that was released first. A keepalive releases a connection again. */
  get bottom(): T | undefined {
    return this.free[0]?.resource
  }

  /** The free ones, those unused for longest first. */
  get idle(): T[] {
    return this.free.map((held) => held.resource)
  }

  /** Moves the free one that was used last to the used. */
  take(): T | undefined {
    const held = this.free.pop()
    if (held === undefined) return undefined
    this.used.push(held)
    return held.resource
  }

  /** Puts a used item back on top of the free ones. tarn would make a promise each time, which has no use here. */
  override release(item: T): boolean {
    const { used } = this
    for (let index = used.length - 1; index >= 0; index--) {
      const held = used[index]
      if (held?.resource !== item) continue
      used.splice(index, 1)
      this.free.push(held)
      return true
    }
    return false
  }

  /** Moves one particular item from the free to the used. */
  withdraw(item: T): boolean {
    const index = this.free.findIndex((held) => held.resource === item)
    const [held] = index === -1 ? [] : this.free.splice(index, 1)
    if (held === undefined) return false
    this.used.push(held)
    return true
  }

  /** Removes an item from its list and closes it. The promise never rejects. */
  async discard(item: T): Promise<void> {
    for (const list of [this.free, this.used]) {
      const index = list.findIndex((held) => held.resource === item)
      if (index === -1) continue
      list.splice(index, 1)[0]?.settle()
      await this._destroy(item)
      return
    }
  }

  /** Opens one, which is free when the promise resolves. */
  open(): Promise<T> {
    return this._create().promise
  }
}
