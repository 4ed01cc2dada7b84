/** One server of a list of hosts: what the attempts and sessions of this process have found there. */

import type { PoolsmithError } from '../errors.ts'
import type { Emit, PlaceRole } from '../events.ts'

/** How long a place that could not be reached is tried after the others (as Npgsql's Host Recheck Seconds). */
const REMEMBERED_MILLIS = 10_000

/** A server by the name and port of the connection. */
export interface PlaceName {
  readonly host: string
  /** Undefined for a named instance. */
  readonly port: number | undefined
}

/** The server that a session was opened at, as it was at the login. */
export interface SessionPlace extends PlaceName {
  /** The IP address, the path of a Unix socket, or the name that a proxy resolves. */
  readonly address: string | undefined
  /** Undefined where the server does not tell it. */
  readonly role: PlaceRole | undefined
}

/** The facts about a place. All engines of the process that name it share them. */
export interface PlaceFacts extends PlaceName {
  /** Of the newest session there. */
  readonly address: string | undefined
  /** The role that the server told last; undefined where it tells none. */
  readonly role: PlaceRole | undefined
  /** `unknown`: no attempt has ended yet. `down`: the last one could not reach it, or it was starting or stopping. */
  readonly state: 'unknown' | 'up' | 'down'
  /** Why the last attempt there failed; undefined when it succeeded. */
  readonly lastError: PoolsmithError | undefined
}

/** A place and its facts, which the driver keeps up to date for all engines that name it. */
export class Place implements PlaceFacts {
  /** The number of doubts about all places of the process. On the hot path. */
  static doubts = 0
  readonly host: string
  readonly port: number | undefined
  address: string | undefined
  role: PlaceRole | undefined
  state: PlaceFacts['state'] = 'unknown'
  lastError: PoolsmithError | undefined
  readonly #now: () => number
  readonly #listeners = new Set<Emit>()
  readonly #attempts = new Set<(error: PoolsmithError) => void>()
  #lastUntil = Number.NEGATIVE_INFINITY
  #doubts = 0

  /** @param now milliseconds of a clock that never goes back */
  constructor({ host, port }: PlaceName, now = () => performance.now()) {
    this.host = host
    this.port = port
    this.#now = now
  }

  get facts(): PlaceFacts {
    const { host, port, address, role, state, lastError } = this
    return { host, port, address, role, state, lastError }
  }

  /**
   * Whether it is tried after the others. When the time of that has passed, one attempt tries it in its own turn; the
   * next ones wait for the result of this one.
   */
  comesLast(): boolean {
    if (this.state !== 'down') return false
    const now = this.#now()
    if (this.#lastUntil > now) return true
    this.#lastUntil = now + REMEMBERED_MILLIS
    return false
  }

  /** A session was opened there, whether it has the role that was asked for or not. */
  answered({ address, role }: Partial<Pick<PlaceFacts, 'address' | 'role'>> = {}): void {
    const wasDown = this.state === 'down'
    this.state = 'up'
    this.address = address
    this.lastError = undefined
    if (wasDown) this.#tell('place:up', { host: this.host, port: this.port, address, role })
    this.hasRole(role)
  }

  /** An attempt could not reach it, or it was starting or stopping. */
  failed(error: PoolsmithError): void {
    const wasDown = this.state === 'down'
    this.state = 'down'
    this.lastError = error
    this.#lastUntil = this.#now() + REMEMBERED_MILLIS
    if (!wasDown) this.#tell('place:down', { host: this.host, port: this.port, error })
    // The others have waited for the same.
    if (error.code === 'CONNECT_TIMEOUT') for (const giveUp of this.#attempts) giveUp(error)
  }

  /** It was reached, and the login failed. */
  refused(error: PoolsmithError): void {
    this.lastError = error
  }

  /** The role as an open session has just told it. */
  hasRole(role: PlaceRole | undefined): void {
    if (role === undefined || role === this.role) return
    const before = this.role
    this.role = role
    if (before === undefined) return
    // Sessions that were opened before may be of no use now.
    this.doubt()
    this.#tell('place:role', { host: this.host, port: this.port, role, before })
  }

  /**
   * An attempt there that has another place to go on to: it gives up when another attempt has reached its time limit.
   *
   * @returns dispose it when the attempt has ended
   */
  attempt(giveUp: (error: PoolsmithError) => void): Disposable {
    this.#attempts.add(giveUp)
    return { [Symbol.dispose]: () => this.#attempts.delete(giveUp) }
  }

  /** The number of doubts whether sessions there still have the role that they were opened for. */
  get doubts(): number {
    return this.#doubts
  }

  /** Every session that is open there now must prove its role before it is handed out again. */
  doubt(): void {
    this.#doubts++
    Place.doubts++
  }

  /** Tells what changes, as events. @returns ends that */
  listen(emit: Emit): () => void {
    this.#listeners.add(emit)
    return () => this.#listeners.delete(emit)
  }

  readonly #tell: Emit = (name, facts) => {
    for (const emit of this.#listeners) emit(name, facts)
  }
}

const known = new Map<string, WeakRef<Place>>()

/**
 * The place of this name, the same one for all engines of the process, for as long as one of them keeps it.
 *
 * @param way the rest that decides whether it can be reached: an address in place of the host's, a proxy
 */
export function sharedPlace(name: PlaceName, ...way: readonly (string | undefined)[]): Place {
  const key = JSON.stringify([name.host.toLowerCase(), name.port, ...way])
  const place = known.get(key)?.deref()
  if (place !== undefined) return place
  for (const [other, reference] of known) if (reference.deref() === undefined) known.delete(other)
  const made = new Place(name)
  known.set(key, new WeakRef(made))
  return made
}
