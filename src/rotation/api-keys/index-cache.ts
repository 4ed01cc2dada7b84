import { orAbort } from '../../abort.ts'
import { PoolsmithError } from '../../errors.ts'
import { type ApiKeyInfo, type Entry, infoOf } from './entries.ts'
import type { KeyStore, Published } from './key-store.ts'

export interface IndexCacheOptions {
  readonly ttlMillis: number
  readonly graceMillis: number
  readonly now: () => number
}

/** A key of the index, as it is while it is valid: made once, since every validation needs it. */
export interface FoundKey {
  readonly info: ApiKeyInfo
  /** The digits of its hash, for the comparison. */
  readonly hash: Buffer
  isValid(now: number): boolean
}

interface Kept<Value> {
  readonly value: Value
  readonly readAt: number
}

/** How often the store is asked for keys that are not known, in milliseconds: callers may send as many as they like. */
const UNKNOWN_MILLIS = 1000

/** Keeps the index by the hashes of keys, and the keys that this process sends. */
export class IndexCache {
  readonly #store: KeyStore
  readonly #options: IndexCacheOptions
  readonly #published = new Map<string, Kept<Published>>()
  readonly #flights = new Map<string, Promise<unknown>>()
  #byHash: Kept<ReadonlyMap<string, FoundKey>> | undefined

  constructor(store: KeyStore, options: IndexCacheOptions) {
    this.#store = store
    this.#options = options
  }

  /** The key with this hash, valid or not. @throws PoolsmithError STORE_… */
  async find(hash: string, signal: AbortSignal): Promise<FoundKey | undefined> {
    const known = this.#byHash
    const age = known === undefined ? Number.POSITIVE_INFINITY : this.#options.now() - known.readAt
    if (known !== undefined && age < this.#options.ttlMillis) {
      const found = known.value.get(hash)
      if (found !== undefined || age < UNKNOWN_MILLIS) return found
    }
    const { value } = await this.#fresh('', known, () => this.#read(), signal)
    return value.get(hash)
  }

  async published(service: string, signal: AbortSignal): Promise<Published> {
    const known = this.#published.get(service)
    if (known !== undefined && this.#options.now() - known.readAt < this.#options.ttlMillis) return known.value
    const read = async (): Promise<Kept<Published>> => {
      const readAt = this.#options.now()
      const kept = { value: await this.#store.published(service, NEVER), readAt }
      this.#published.set(service, kept)
      return kept
    }
    return (await this.#fresh(service, known, read, signal)).value
  }

  /** Nothing that was read before counts any more. */
  forget(): void {
    this.#byHash = undefined
    this.#published.clear()
  }

  async #read(): Promise<Kept<ReadonlyMap<string, FoundKey>>> {
    const readAt = this.#options.now()
    const index = await this.#store.index(NEVER)
    const all = [...index].flatMap(([service, entries]) =>
      entries.map((entry) => [entry.hash, foundKey(service, entry, readAt)] as const),
    )
    const kept = { value: new Map(all), readAt }
    this.#byHash = kept
    return kept
  }

  /** One request for all callers. While the store is down, what was read last is given within the grace period. */
  async #fresh<Value>(
    name: string,
    known: Kept<Value> | undefined,
    read: () => Promise<Kept<Value>>,
    signal: AbortSignal,
  ): Promise<Kept<Value>> {
    let flight = this.#flights.get(name) as Promise<Kept<Value>> | undefined
    if (flight === undefined) {
      flight = read().finally(() => this.#flights.delete(name))
      flight.catch(() => undefined)
      this.#flights.set(name, flight)
    }
    try {
      return await orAbort(flight, signal)
    } catch (error) {
      const { ttlMillis, graceMillis, now } = this.#options
      const isInGrace = known !== undefined && now() - known.readAt < ttlMillis + graceMillis
      if (!isInGrace || !(error instanceof PoolsmithError) || !error.transient) throw error
      return known
    }
  }
}

function foundKey(service: string, entry: Entry, now: number): FoundKey {
  const info = infoOf(service, entry, now)
  const end = info.expiresAt ?? Number.POSITIVE_INFINITY
  const isRevoked = info.state === 'revoked'
  return { info, hash: Buffer.from(entry.hash), isValid: (at) => !isRevoked && at < end }
}

const NEVER = new AbortController().signal
