import { PoolsmithError } from '../../errors.ts'
import { Secret } from '../../secret.ts'
import type { StoredSecret } from '../../vault/stored-secret.ts'
import { writeSecret } from '../write-secret.ts'
import { type Entries, readEntries, writeEntries } from './entries.ts'
import type { KeyPlace } from './place.ts'

/** The index at one moment: the keys of all services. */
export type Index = ReadonlyMap<string, Entries>

/** The secret of one service, which its callers read. */
export interface Published {
  /** The secret as it was read; undefined where there is none yet. */
  readonly secret: StoredSecret | undefined
  readonly key: Secret | undefined
  /** Whether the service's keys were all revoked. */
  readonly isRevoked: boolean
}

/** The index is shared by all services: a change of one may meet a change of another. */
const MOST_ATTEMPTS = 8

/** Reads and writes the secrets of {@link KeyPlace}. */
export class KeyStore {
  readonly #place: KeyPlace

  constructor(place: KeyPlace) {
    this.#place = place
  }

  get name(): string {
    return this.#place.store.placeOf(this.#place.index)
  }

  /** @throws PoolsmithError STORE_…, SECRET_UNUSABLE */
  async index(signal: AbortSignal): Promise<Index> {
    const secret = await this.#read(this.#place.index, signal)
    return new Map([...(secret?.texts() ?? [])].map(([service, text]) => [service, this.#entriesOf(service, text)]))
  }

  /**
   * Changes the keys of one service; those of the others stay.
   *
   * @param change gives the next entries of the present ones; it may be called several times
   * @throws PoolsmithError SECRET_CONFLICT, STORE_…; what `change` throws
   */
  async update(service: string, change: (entries: Entries) => Entries, signal: AbortSignal): Promise<Entries> {
    const { store, index } = this.#place
    for (let attempt = 1; ; attempt++) {
      const secret = await this.#read(index, signal)
      const fields = new Map(secret?.texts() ?? [])
      const text = fields.get(service)
      const before = text === undefined ? [] : this.#entriesOf(service, text)
      const next = change(before)
      if (next === before) return next
      fields.set(service, new Secret(writeEntries(next)))
      try {
        await writeSecret(store, index, fields, { replaces: secret, signal })
        return next
      } catch (error) {
        const isConflict = error instanceof PoolsmithError && error.code === 'SECRET_CONFLICT'
        if (!isConflict || attempt === MOST_ATTEMPTS) throw error
      }
    }
  }

  async published(service: string, signal: AbortSignal): Promise<Published> {
    const path = this.#place.pathOf(service)
    const secret = await this.#read(path, signal)
    const texts = secret?.texts()
    return { secret, key: texts?.get('key'), isRevoked: texts?.has('revoked') === true }
  }

  /** @throws PoolsmithError SECRET_CONFLICT when it has changed since it was read, STORE_… */
  async publish(service: string, replaces: StoredSecret | undefined, key: Secret, signal: AbortSignal): Promise<void> {
    await this.#write(service, replaces, [['key', key]], signal)
  }

  /** Takes the key out of the secret of a service. @returns false where it holds none */
  async withdraw(service: string, at: number, signal: AbortSignal): Promise<boolean> {
    const { secret, key } = await this.published(service, signal)
    if (secret === undefined || key === undefined) return false
    await this.#write(service, secret, [['revoked', new Secret(new Date(at).toISOString())]], signal)
    return true
  }

  close(): void {
    this.#place.store.close?.()
  }

  async #write(
    service: string,
    replaces: StoredSecret | undefined,
    fields: readonly (readonly [string, Secret])[],
    signal: AbortSignal,
  ): Promise<void> {
    const { store } = this.#place
    const own = new Map([['service', new Secret(service)], ...fields])
    // Fields that others have added stay.
    const kept = [...(replaces?.texts() ?? [])].filter(([name]) => name !== 'key' && name !== 'revoked')
    await writeSecret(store, this.#place.pathOf(service), new Map([...kept, ...own]), { replaces, signal })
  }

  async #read(path: string, signal: AbortSignal): Promise<StoredSecret | undefined> {
    try {
      return await this.#place.store.read(path, signal)
    } catch (error) {
      const isNone =
        error instanceof PoolsmithError && (error.code === 'SECRET_MISSING' || error.code === 'SECRET_DELETED')
      if (isNone) return undefined
      throw error
    }
  }

  #entriesOf(service: string, text: Secret): Entries {
    return readEntries(text.reveal(), this.name, service)
  }
}
