/** The events of one engine: to listeners in the process and to subscribers on `node:diagnostics_channel`. */

import { type Channel, channel } from 'node:diagnostics_channel'
import { isError } from '../any-error.ts'
import type { Emit, EventFacts, EventName, EventOrigin, PoolsmithEvents } from '../events.ts'

/** Takes times in milliseconds, in groups. An array is valid during the call only. Must not throw. */
export interface PoolMeter {
  /** How long each acquire has waited. */
  waited(millis: Float64Array): void
  /** For how long each connection was in use. */
  used(millis: Float64Array): void
}

export interface Measuring {
  /** Tells what has gathered. */
  flush(): void
  end(): void
}

/** Times that are told together. */
class TimeGroup {
  readonly millis = new Float64Array(1024)
  count = 0
  readonly #tell: (millis: Float64Array) => void

  constructor(tell: (millis: Float64Array) => void) {
    this.#tell = tell
  }

  flush(): void {
    const { count } = this
    this.count = 0
    if (count > 0) this.#tell(this.millis.subarray(0, count))
  }
}

/** A listener to one event. */
export type Listener<Name extends EventName> = (payload: PoolsmithEvents[Name]) => void

/**
 * Carries the events of a pool, its source and its driver. Each event is also published on the diagnostics
 * channel `poolsmith:<event>` (as in `poolsmith:connection:opened`), with the same payload.
 *
 * An error that a listener throws becomes a warning of the process; the other listeners are called.
 */
export class EventHub {
  readonly #listeners = new Map<EventName, Set<(payload: never) => void>>()
  readonly #channels = new Map<EventName, Channel>()
  readonly #meters = new Set<PoolMeter>()
  #waits: TimeGroup | undefined
  #uses: TimeGroup | undefined
  readonly #wantsAcquired = this.interest('pool:acquired')
  readonly #wantsReleased = this.interest('pool:released')
  #origin: EventOrigin | undefined

  /** Says which pool the events are about, as soon as that is known. */
  set origin(origin: EventOrigin) {
    this.#origin = origin
  }

  on<Name extends EventName>(name: Name, listener: Listener<Name>): void {
    this.#listenersOf(name).add(listener)
  }

  off<Name extends EventName>(name: Name, listener: Listener<Name>): void {
    this.#listeners.get(name)?.delete(listener)
  }

  /** Adds a meter, which costs an acquire less than a listener, since no payload is made. */
  measure(meter: PoolMeter): Measuring {
    const flush = (): void => {
      this.#waits?.flush()
      this.#uses?.flush()
    }
    // The times that have gathered are for those that are there already.
    flush()
    this.#meters.add(meter)
    this.#waits ??= new TimeGroup((millis) => {
      for (const one of this.#meters) one.waited(millis)
    })
    this.#uses ??= new TimeGroup((millis) => {
      for (const one of this.#meters) one.used(millis)
    })
    const end = (): void => {
      flush()
      this.#meters.delete(meter)
      if (this.#meters.size > 0) return
      this.#waits = undefined
      this.#uses = undefined
    }
    return { flush, end }
  }

  acquired(id: number, waitedMillis: number): void {
    const waits = this.#waits
    // Not by a method: on the hot path a call takes longer than all that is done with the number.
    if (waits !== undefined) {
      waits.millis[waits.count++] = waitedMillis
      if (waits.count === waits.millis.length) waits.flush()
    }
    if (this.#wantsAcquired()) this.emit('pool:acquired', { id, waitedMillis })
  }

  released(id: number, heldMillis: number): void {
    const uses = this.#uses
    if (uses !== undefined) {
      uses.millis[uses.count++] = heldMillis
      if (uses.count === uses.millis.length) uses.flush()
    }
    if (this.#wantsReleased()) this.emit('pool:released', { id, heldMillis })
  }

  readonly emit: Emit = (name, facts) => {
    if (name === 'config:warning') warnProcess(facts as EventFacts['config:warning'])
    const listeners = this.#listeners.get(name)
    const published = this.#channel(name)
    if (!published.hasSubscribers && (listeners === undefined || listeners.size === 0)) return
    const payload = { ...this.#origin, ...facts } as PoolsmithEvents[typeof name]
    if (listeners !== undefined) {
      for (const listener of [...listeners] as Listener<typeof name>[]) {
        try {
          listener(payload)
        } catch (error) {
          process.emitWarning(isError(error) ? error : String(error))
        }
      }
    }
    if (published.hasSubscribers) published.publish(payload)
  }

  /**
   * Whether the event has a listener: asked on the hot path before a payload is built.
   * It is cheap to ask and never goes stale.
   */
  interest(name: EventName): () => boolean {
    const listeners = this.#listenersOf(name)
    const published = this.#channel(name)
    return () => listeners.size > 0 || published.hasSubscribers
  }

  #listenersOf(name: EventName): Set<(payload: never) => void> {
    const known = this.#listeners.get(name)
    if (known !== undefined) return known
    const listeners = new Set<(payload: never) => void>()
    this.#listeners.set(name, listeners)
    return listeners
  }

  #channel(name: EventName): Channel {
    const known = this.#channels.get(name)
    if (known !== undefined) return known
    // Kept here, since node:diagnostics_channel itself holds a channel only weakly.
    const opened = channel(`poolsmith:${name}`)
    this.#channels.set(name, opened)
    return opened
  }
}

/** A program without a listener would not hear that a setting needs attention. */
function warnProcess({ path, message }: EventFacts['config:warning']): void {
  process.emitWarning(`${path}: ${message}`, { type: 'PoolsmithWarning', code: 'CONFIG_WARNING' })
}
