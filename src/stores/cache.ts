import { orAbort } from '../abort.ts'
import { errorCode } from '../any-error.ts'
import { PoolsmithError } from '../errors.ts'
import type { Emit } from '../events.ts'
import type { Secret } from '../secret.ts'
import type { StoredSecret } from '../vault/stored-secret.ts'
import type { SecretReader, WriteOptions } from './reader.ts'

export interface CacheOptions {
  /** How long a secret of a remote store is used before it is read again, in milliseconds. */
  readonly ttlMillis: number
  /** How much longer it is used while the store is down, in milliseconds. */
  readonly graceMillis: number
  readonly emit?: Emit | undefined
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly now?: (() => number) | undefined
}

/** A secret, and when it was read from its store. */
export interface Reading {
  readonly secret: StoredSecret
  /** Milliseconds since the epoch. */
  readonly readAt: number
}

export interface ReadOptions {
  readonly signal: AbortSignal
  /** Past the cache: a server has refused the secret that is in it. */
  readonly isFresh?: boolean
}

/**
 * Keeps what a store gave. One request is in flight for each path, however many wait. While the store is down (no
 * answer, sealed, throttled, a fault of its own), the last secret is given within the grace period, with the event
 * `secret:stale`; a refusal and a secret that is missing are passed on.
 */
export class CachedReader {
  readonly #reader: SecretReader
  readonly #options: CacheOptions
  readonly #readings = new Map<string, Reading>()
  readonly #flights = new Map<string, Promise<Reading>>()
  readonly #closing = new AbortController()

  constructor(reader: SecretReader, options: CacheOptions) {
    this.#reader = reader
    this.#options = options
  }

  /** @throws PoolsmithError STORE_…, SECRET_…; the signal's reason */
  async read(path: string, { signal, isFresh = false }: ReadOptions): Promise<Reading> {
    const known = this.#readings.get(path)
    const age = this.#now() - (known?.readAt ?? 0)
    // Negative when the clock was set back.
    const isYoung = known !== undefined && age >= 0 && age < this.#ttlMillis
    if (isYoung && !isFresh) return known
    try {
      return await orAbort(this.#fly(path), signal)
    } catch (error) {
      const ageMillis = this.#now() - (known?.readAt ?? 0)
      const isInGrace = known !== undefined && ageMillis < this.#ttlMillis + this.#options.graceMillis
      if (!isInGrace || !(error instanceof PoolsmithError) || !error.transient) throw error
      this.#options.emit?.('secret:stale', { place: this.placeOf(path), error, ageMillis })
      return known
    }
  }

  get isWritable(): boolean {
    return this.#reader.write !== undefined
  }

  /** Stores a secret, and keeps it as if it had been read. @throws as `SecretReader.write` */
  async write(path: string, fields: ReadonlyMap<string, Secret>, options: WriteOptions): Promise<void> {
    if (this.#reader.write === undefined) throw new Error('The store cannot be written.')
    const readAt = this.#now()
    const secret = await this.#reader.write(path, fields, options)
    if (!this.#closing.signal.aborted) this.#readings.set(path, { secret, readAt })
  }

  /** The versions that may be right where `current` was refused. */
  async others(path: string, current: StoredSecret, signal: AbortSignal): Promise<readonly StoredSecret[]> {
    const others = this.#reader.others?.(path, current, AbortSignal.any([signal, this.#closing.signal]))
    return (await others) ?? []
  }

  /** Until when a secret that was read then may be used, in milliseconds since the epoch. */
  goodUntil({ readAt }: Reading): number {
    return readAt + this.#ttlMillis + this.#options.graceMillis
  }

  placeOf(path: string): string {
    return this.#reader.placeOf(path)
  }

  /** How often it is worth while to read again, in milliseconds. */
  get recheckMillis(): number {
    return Math.max(this.#ttlMillis, LOCAL_RECHECK_MILLIS)
  }

  close(): void {
    this.#closing.abort(new PoolsmithError('The store is closed.', { code: 'ABORTED', phase: 'credential' }))
    this.#reader.close?.()
    this.#readings.clear()
  }

  #fly(path: string): Promise<Reading> {
    const known = this.#flights.get(path)
    if (known !== undefined) return known
    const readAt = this.#now()
    const flight = this.#audited(path)
      .then((secret) => {
        const reading = { secret, readAt }
        if (!this.#closing.signal.aborted) this.#readings.set(path, reading)
        return reading
      })
      .finally(() => this.#flights.delete(path))
    flight.catch(() => undefined)
    this.#flights.set(path, flight)
    return flight
  }

  /** Reads, and tells the audit log. A local secret is read every second, and told the first time. */
  async #audited(path: string): Promise<StoredSecret> {
    const { emit } = this.#options
    const reading = this.#reader.read(path, this.#closing.signal)
    if (emit === undefined || (this.#reader.distance === 'local' && this.#readings.has(path))) return reading
    const facts = { kind: 'secret', action: 'read', place: this.placeOf(path) } as const
    try {
      const secret = await reading
      emit('audit', { ...facts, outcome: 'success', version: secret.version })
      return secret
    } catch (error) {
      emit('audit', { ...facts, outcome: 'failure', code: errorCode(error) ?? 'UNKNOWN' })
      throw error
    }
  }

  get #ttlMillis(): number {
    return this.#reader.distance === 'local' ? 0 : this.#options.ttlMillis
  }

  #now(): number {
    return (this.#options.now ?? Date.now)()
  }
}

/** As for `password_file`. */
const LOCAL_RECHECK_MILLIS = 1000
