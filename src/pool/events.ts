/** The events of one engine: to listeners in the process and to subscribers on `node:diagnostics_channel`. */

import { type Channel, channel } from 'node:diagnostics_channel'
import { isError } from '../any-error.ts'
import type { Emit, EventName, EventOrigin, PoolsmithEvents } from '../events.ts'

/** Takes times in milliseconds. Must not throw. */
export interface Gauge {
  record(millis: number): void
}

/** Takes the wait of each acquire, and the time for which each connection was in use. */
export interface PoolMeter {
  readonly waits: Gauge
  readonly uses: Gauge
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
  /** All of them as one. */
  #meter: PoolMeter | undefined
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

  /** Adds a meter, which costs an acquire less than a listener, since no payload is made. @returns ends that */
  measure(meter: PoolMeter): () => void {
    this.#meters.add(meter)
    this.#meter = together(this.#meters)
    return () => {
      this.#meters.delete(meter)
      this.#meter = together(this.#meters)
    }
  }

  acquired(id: number, waitedMillis: number): void {
    this.#meter?.waits.record(waitedMillis)
    if (this.#wantsAcquired()) this.emit('pool:acquired', { id, waitedMillis })
  }

  released(id: number, heldMillis: number): void {
    this.#meter?.uses.record(heldMillis)
    if (this.#wantsReleased()) this.emit('pool:released', { id, heldMillis })
  }

  readonly emit: Emit = (name, facts) => {
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

function together(meters: ReadonlySet<PoolMeter>): PoolMeter | undefined {
  if (meters.size <= 1) return [...meters][0]
  const all = (name: keyof PoolMeter): Gauge => ({
    record: (millis) => {
      for (const meter of meters) meter[name].record(millis)
    },
  })
  return { waits: all('waits'), uses: all('uses') }
}
