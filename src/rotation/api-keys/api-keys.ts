import { timingSafeEqual } from 'node:crypto'
import { type ApiKeyFacts, type AuditRecorder, tellAudit } from '../../audit-facts.ts'
import { ConfigError, inSentence, PoolsmithError } from '../../errors.ts'
import { Secret } from '../../secret.ts'
import { DAY_MILLIS, DEFAULT_POLICY } from '../policy.ts'
import { running } from '../stored-password.ts'
import {
  type ApiKeyInfo,
  currentIn,
  type Entry,
  infoOf,
  isValid,
  pendingIn,
  promoted,
  revoked,
  withNew,
} from './entries.ts'
import { IndexCache } from './index-cache.ts'
import type { KeyStore } from './key-store.ts'
import { DEFAULT_PREFIX, hashOf, isKeyText, newKey } from './key-text.ts'

/** Options of {@link openApiKeys}. */
export interface ApiKeysOptions {
  /**
   * `key`: callers find the current key of their service in the store. `hash`: the store has hashes alone, and a key is
   * shown once, when it is made. Default `key`.
   */
  readonly keep?: 'key' | 'hash'
  /** The first word of each key, by which scanners find leaked ones: 2 to 16 small letters and digits. Default `psm`. */
  readonly prefix?: string
  /** Options of the store, under their names in the extras of a connection, such as `vault_addr`. */
  readonly store?: Readonly<Record<string, unknown>>
  /** Default `process.env`. */
  readonly environment?: Readonly<Record<string, string | undefined>>
  /** How long what was read counts, in seconds: a revoked key is refused after that at the latest. Default 30. */
  readonly ttl?: number
  /** How much longer it counts while the store is down, in seconds. Default 3600. */
  readonly grace?: number
  readonly audit?: AuditRecorder
  /** The person or job that orders the operation, for the audit log. */
  readonly by?: string
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly now?: () => number
}

/** A new key. `key.reveal()` gives it; with `keep: 'hash'` it cannot be read again. */
export interface NewApiKey {
  readonly key: Secret
  readonly info: ApiKeyInfo
}

/** How a key is made. */
export interface NewKeyOptions {
  /** After how many days it is to be replaced. Default 90. */
  readonly rotateAfterDays?: number
  /** After how many days it is refused. Default: never by itself. */
  readonly expiresAfterDays?: number
  readonly signal?: AbortSignal
}

/** Names of fields and secrets in every store. */
const SERVICE = /^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/
const DEFAULT_GRACE_MILLIS = DAY_MILLIS
const NEVER = new AbortController().signal

/**
 * The API keys of services, in a store of secrets: their metadata with hashes in one secret (`place`), which validators
 * read, and the current key of each service in a secret of its own (`place/service`), which its callers read.
 */
export class ApiKeys implements Disposable {
  readonly #store: KeyStore
  readonly #cache: IndexCache
  readonly #options: ApiKeysOptions
  readonly #now: () => number

  /** Use {@link openApiKeys}. */
  constructor(store: KeyStore, options: ApiKeysOptions) {
    this.#store = store
    this.#options = options
    this.#now = options.now ?? Date.now
    const { ttl = 30, grace = 3600 } = options
    this.#cache = new IndexCache(store, { ttlMillis: ttl * 1000, graceMillis: grace * 1000, now: this.#now })
  }

  /** The secret of the index, as errors name it. */
  get name(): string {
    return this.#store.name
  }

  /** Makes the first key of a service. @throws PoolsmithError API_KEY_EXISTS, STORE_…, SECRET_… */
  generate(service: string, options: NewKeyOptions = {}): Promise<NewApiKey> {
    return this.#told('generate', service, async () => {
      const signal = options.signal ?? NEVER
      const index = await this.#store.index(signal)
      if (currentIn(index.get(service) ?? [], this.#now()) !== undefined) {
        throw new PoolsmithError(`${service} has an API key in ${inSentence(this.name)} already.`, {
          code: 'API_KEY_EXISTS',
          phase: 'credential',
          hint: 'Rotate it, or revoke it first.',
        })
      }
      return this.#make(service, options, 0)
    })
  }

  /**
   * Makes the next key of a service. The one before stays valid for `graceSeconds` (default a day), so that callers have
   * time to read the new one. After a kill, the same call finishes what was begun.
   *
   * @throws PoolsmithError API_KEY_MISSING, ROTATION_RUNNING, STORE_…, SECRET_…
   */
  rotate(service: string, options: NewKeyOptions & { readonly graceSeconds?: number } = {}): Promise<NewApiKey> {
    return this.#told('rotate', service, async () => {
      const { signal = NEVER, graceSeconds = DEFAULT_GRACE_MILLIS / 1000 } = options
      if (!(graceSeconds >= 0 && graceSeconds <= 366 * 86_400)) {
        throw new ConfigError([{ path: 'graceSeconds', message: 'expected seconds from 0 to a year' }])
      }
      const entries = (await this.#store.index(signal)).get(service) ?? []
      if (currentIn(entries, this.#now()) === undefined) throw this.#missing(service)
      return this.#make(service, options, graceSeconds * 1000)
    })
  }

  /**
   * Revokes one version, or all keys of a service; they are refused from now on. After a kill, the same call finishes what
   * was begun.
   *
   * @returns what was revoked
   * @throws PoolsmithError API_KEY_MISSING, STORE_…, SECRET_…
   */
  revoke(service: string, version?: number, signal: AbortSignal = NEVER): Promise<readonly ApiKeyInfo[]> {
    return this.#told('revoke', service, async () => {
      const at = this.#now()
      let affected = new Set<number>()
      const after = await this.#store.update(
        service,
        (entries) => {
          const next = revoked(entries, version, at)
          affected = new Set(next.filter((entry) => !entries.includes(entry)).map((entry) => entry.version))
          return affected.size === 0 ? entries : next
        },
        signal,
      )
      const isLast = this.#keepsKeys && after.length > 0 && !after.some((entry) => isValid(entry, at))
      const isWithdrawn = isLast && (await this.#store.withdraw(service, at, signal))
      this.#cache.forget()
      if (affected.size === 0) {
        // A revocation that was killed between the two writes is finished.
        if (!isWithdrawn) throw this.#missing(service, version)
        affected = new Set(after.filter(({ revoked: when }) => when !== undefined).map((entry) => entry.version))
      }
      return after.filter(({ version: each }) => affected.has(each)).map((entry) => infoOf(service, entry, at))
    })
  }

  /** The keys of one service, or of all: their metadata, which holds no key. */
  async list(service?: string, signal: AbortSignal = NEVER): Promise<readonly ApiKeyInfo[]> {
    const index = await this.#store.index(signal)
    await tellAudit(
      { kind: 'api_key', action: 'list', service: service ?? 'all', by: this.#options.by, outcome: 'success' },
      this.#options.audit,
    )
    const chosen = [...index].filter(([name]) => service === undefined || name === service)
    return chosen.flatMap(([name, entries]) => entries.map((entry) => infoOf(name, entry, this.#now())))
  }

  /**
   * Whose key it is; undefined for one that is unknown, wrong, expired or revoked, which nothing tells apart. The index
   * is read again after `ttl`, and at most once a second for a key that is not in it.
   *
   * @param key as a request has it; undefined for one without a key, which is refused like a wrong one
   * @throws PoolsmithError STORE_… when the store has been down for longer than `grace`
   */
  async validate(key: string | Secret | undefined, signal: AbortSignal = NEVER): Promise<ApiKeyInfo | undefined> {
    const given = key instanceof Secret ? key.reveal() : key
    // A header that stands twice is a list.
    const text = typeof given === 'string' ? given : ''
    const isForm = isKeyText(text)
    const digest = hashOf(text)
    const found = isForm ? await this.#cache.find(digest, signal) : undefined
    // Each way compares as much.
    const isSame = timingSafeEqual(found?.hash ?? NO_HASH, Buffer.from(digest))
    const isGood = found !== undefined && isSame && found.isValid(this.#now())
    const head = { kind: 'api_key', action: 'validate', by: this.#options.by, key: digest } as const
    if (!isGood) {
      await tellAudit({ ...head, service: 'unknown', outcome: 'failure', code: 'API_KEY_INVALID' }, this.#options.audit)
      return undefined
    }
    await tellAudit({ ...head, service: found.info.service, outcome: 'success' }, this.#options.audit)
    return found.info
  }

  /**
   * The headers that a caller sends, with the current key of its service: `Authorization: Bearer …` and `X-API-Key`. Only
   * the secret of this service is read. Ask for them for each request: the key is kept for `ttl`.
   *
   * @throws PoolsmithError API_KEY_MISSING, API_KEY_REVOKED, STORE_…
   */
  async headersFor(service: string, signal: AbortSignal = NEVER): Promise<Readonly<Record<string, string>>> {
    assertService(service)
    const { key, isRevoked } = await this.#cache.published(service, signal)
    if (isRevoked) {
      throw new PoolsmithError(`The API keys of ${service} were revoked.`, {
        code: 'API_KEY_REVOKED',
        phase: 'credential',
        hint: 'Generate a new one once the reason is known.',
      })
    }
    if (key === undefined) throw this.#missing(service)
    return { Authorization: `Bearer ${key.reveal()}`, 'X-API-Key': key.reveal() }
  }

  close(): void {
    this.#store.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  get #keepsKeys(): boolean {
    return this.#options.keep !== 'hash'
  }

  /** In the order in which a kill leaves a valid key in every place: the hash, the key, the end of the one before. */
  async #make(service: string, options: NewKeyOptions, graceMillis: number): Promise<NewApiKey> {
    const { signal = NEVER } = options
    const replaced = this.#keepsKeys ? await this.#store.published(service, signal) : undefined
    const known = (await this.#store.index(signal)).get(service) ?? []
    const pending = pendingIn(known, this.#now())
    const isPublished = replaced?.key !== undefined && hashOf(replaced.key.reveal()) === pending?.hash
    const key =
      isPublished && replaced.key !== undefined ? replaced.key : newKey(this.#options.prefix ?? DEFAULT_PREFIX)
    const hash = hashOf(key.reveal())
    if (!isPublished) {
      await this.#store.update(service, (entries) => withNew(entries, this.#entry(hash, options)), signal)
      if (replaced !== undefined) await this.#publish(service, replaced.secret, key, signal)
    }
    const after = await this.#store.update(
      service,
      (entries) => {
        const own = entries.find((entry) => entry.hash === hash)
        // Another process has finished it, or revoked it.
        if (own?.state !== 'pending' || own.revoked !== undefined) return entries
        return promoted(entries, own.version, this.#now(), graceMillis)
      },
      signal,
    )
    this.#cache.forget()
    const own = after.find((entry) => entry.hash === hash)
    if (own === undefined) throw running(`the keys of ${service} were changed by another program at the same time`)
    return { key, info: infoOf(service, own, this.#now()) }
  }

  async #publish(
    service: string,
    replaces: Parameters<KeyStore['publish']>[1],
    key: Secret,
    signal: AbortSignal,
  ): Promise<void> {
    try {
      await this.#store.publish(service, replaces, key, signal)
    } catch (error) {
      if (!(error instanceof PoolsmithError) || error.code !== 'SECRET_CONFLICT') throw error
      throw running(`the key of ${service} was changed by another program at the same time`, error)
    }
  }

  #entry(hash: string, { rotateAfterDays, expiresAfterDays }: NewKeyOptions): Omit<Entry, 'version'> {
    const now = this.#now()
    const days = rotateAfterDays ?? DEFAULT_POLICY.api_key.maxAgeDays
    const inDays = (name: string, given: number): string => {
      if (!(given > 0 && given <= 36_500)) {
        throw new ConfigError([{ path: name, message: 'expected days, more than 0 and at most 36500' }])
      }
      return new Date(now + given * DAY_MILLIS).toISOString()
    }
    return {
      hash,
      state: 'pending',
      created: new Date(now).toISOString(),
      rotateAfter: inDays('rotateAfterDays', days),
      expires: expiresAfterDays === undefined ? undefined : inDays('expiresAfterDays', expiresAfterDays),
    }
  }

  #missing(service: string, version?: number): PoolsmithError {
    const which = version === undefined ? 'API key' : `version ${version} of its API key`
    return new PoolsmithError(`${service} has no valid ${which} in ${inSentence(this.name)}.`, {
      code: 'API_KEY_MISSING',
      phase: 'credential',
      hint: 'Check the name of the service; `poolsmith api-keys list` shows all, `generate` makes a first key.',
    })
  }

  async #told<Result>(action: ApiKeyFacts['action'], service: string, work: () => Promise<Result>): Promise<Result> {
    assertService(service)
    const { audit, by } = this.#options
    const head = { kind: 'api_key', action, service, by } as const
    let result: Result
    try {
      result = await work()
    } catch (error) {
      const code = error instanceof PoolsmithError ? error.code : undefined
      await tellAudit({ ...head, outcome: 'failure', code }, audit)
      throw error
    }
    const made = result as { readonly info?: ApiKeyInfo }
    await tellAudit({ ...head, outcome: 'success', key: made.info?.hash }, audit)
    return result
  }
}

const NO_HASH = Buffer.from('0'.repeat(64))

/** @throws ConfigError */
function assertService(service: string): void {
  // A name that is undefined would be that of the service "undefined".
  if (typeof service === 'string' && SERVICE.test(service)) return
  const message = 'expected the name of a service: small letters, digits and hyphens, at most 63'
  throw new ConfigError([{ path: 'service', message }], { subject: 'The API key' })
}
