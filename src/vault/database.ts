/** Users by the database engine of Vault: https://developer.hashicorp.com/vault/api-docs/secret/databases */

import type { CredentialSource, PasswordCredential } from '../credentials/credential.ts'
import { refreshingSource } from '../credentials/refreshing-source.ts'
import { PoolsmithError } from '../errors.ts'
import type { Emit } from '../events.ts'
import { Secret } from '../secret.ts'
import type { VaultContext } from './context.ts'
import type { VaultOptions } from './fields.ts'
import { isRecord } from './json.ts'
import type { Answer } from './query.ts'
import { Vault } from './vault.ts'

export interface DatabaseOptions extends VaultOptions {
  readonly vault_database_role: string | undefined
  readonly vault_static_role: string | undefined
  readonly vault_database_mount: string
}

interface Lease {
  readonly id: string
  /** Its life when it was made, in milliseconds. */
  readonly lifeMillis: number
  readonly renewable: boolean
  /** Of the token that it was taken with: when that one ends, the lease ends too. */
  readonly login: number
  readonly credential: PasswordCredential
}

/** A renewal that gives less than this part of the first life nears the greatest one: another user is made. */
const SHRUNK = 0.5
/** How long the password is used that Vault gives while it rotates it. */
const ROTATING_MILLIS = 250

/** The source of a pool's users. Its `release` revokes their leases. */
export function databaseUsers(
  options: DatabaseOptions,
  context: VaultContext & { readonly emit: Emit },
): CredentialSource {
  const { emit } = context
  const vault = new Vault(options, context)
  const { vault_database_mount: mount, vault_database_role: role, vault_static_role: fixed } = options
  return role === undefined
    ? new StaticUser(vault, `${mount}/static-creds/${encodeURIComponent(fixed ?? '')}`, emit)
    : new DynamicUsers(vault, `${mount}/creds/${encodeURIComponent(role)}`, emit)
}

abstract class Users implements CredentialSource {
  protected readonly vault: Vault
  protected readonly path: string
  readonly #source: CredentialSource

  constructor(vault: Vault, path: string, emit: Emit) {
    this.vault = vault
    this.path = path
    this.#source = refreshingSource({ emit, fetch: (signal) => this.fetch(signal) })
  }

  protected abstract fetch(signal: AbortSignal): Promise<PasswordCredential>

  current(): PasswordCredential | undefined {
    return this.#source.current() as PasswordCredential | undefined
  }

  get(signal?: AbortSignal) {
    return this.#source.get(signal)
  }

  reject(credential: PasswordCredential): boolean {
    return this.#source.reject(credential)
  }

  onChange(listener: Parameters<CredentialSource['onChange']>[0]): () => void {
    return this.#source.onChange(listener)
  }

  get failure(): PoolsmithError | undefined {
    return this.#source.failure
  }

  close(): void {
    this.#source.close()
  }

  async release(): Promise<void> {
    this.vault.close()
  }

  protected async ask(
    signal: AbortSignal,
  ): Promise<{ readonly answer: Answer; readonly user: Omit<PasswordCredential, 'issuedAt'> }> {
    const answer = await this.vault.query({ step: `give a database user by ${this.path}`, path: this.path }, signal)
    const { username: user, password } = isRecord(answer.body.data) ? answer.body.data : {}
    if (typeof user !== 'string' || typeof password !== 'string' || user === '' || password === '') {
      throw new PoolsmithError(`${this.vault.name} gave no user and password for ${this.path}.`, {
        code: 'STORE_ANSWER_UNUSABLE',
        phase: 'credential',
        hint: 'Check vault_database_mount, and that the role is one of the database engine with the credential type password.',
      })
    }
    return { answer, user: { kind: 'password', identity: user, user, password: new Secret(password) } }
  }

  /** Not beyond the end of the token, with which the lease ends. */
  protected endOf(at: number): number {
    return Math.min(at, this.vault.tokenEndsAt ?? at)
  }
}

/** A user that Vault makes for this pool. */
class DynamicUsers extends Users {
  #lease: Lease | undefined
  /** Leases that may not have ended, by their ids, with their ends in milliseconds since the epoch. */
  readonly #taken = new Map<string, number>()
  readonly #releasing = new AbortController()

  override reject(credential: PasswordCredential): boolean {
    // The user may be gone, with its lease or with the token: another one is made.
    if (this.#lease?.credential.password.equals(credential.password)) this.#lease = undefined
    return super.reject(credential)
  }

  protected override async fetch(signal: AbortSignal): Promise<PasswordCredential> {
    return (await this.#renewed(signal)) ?? (await this.#made(signal))
  }

  /** The present user with a later end; undefined where another user must be made. */
  async #renewed(signal: AbortSignal): Promise<PasswordCredential | undefined> {
    const lease = this.#lease
    if (lease === undefined || !lease.renewable || lease.login !== this.vault.logins) return undefined
    const { id, lifeMillis, credential } = lease
    const issuedAt = Date.now()
    try {
      const body = { lease_id: id, increment: Math.round(lifeMillis / 1000) }
      const answer = await this.vault.query({ step: 'renew the lease', path: 'sys/leases/renew', body }, signal)
      const millis = millisOf(answer.body.lease_duration)
      // The token may have been replaced by this request, and the lease goes with the old one.
      if (lease.login !== this.vault.logins || millis < lifeMillis * SHRUNK) return undefined
      const expiresAt = this.endOf(issuedAt + millis)
      this.#taken.set(id, issuedAt + millis)
      if (expiresAt <= (credential.expiresAt ?? 0)) return undefined
      this.#lease = { ...lease, credential: { ...credential, issuedAt, expiresAt } }
      return this.#lease.credential
    } catch (error) {
      // Vault does not know the lease any more, or does not let it be renewed.
      const isOver = error instanceof PoolsmithError && !error.transient
      if (isOver) return undefined
      throw error
    }
  }

  async #made(signal: AbortSignal): Promise<PasswordCredential> {
    const issuedAt = Date.now()
    const { answer, user } = await this.ask(signal)
    const { lease_id: id, lease_duration: seconds, renewable } = answer.body
    const lifeMillis = millisOf(seconds)
    if (typeof id !== 'string' || lifeMillis <= 0) {
      throw new PoolsmithError(`${this.vault.name} gave a database user without a lease for ${this.path}.`, {
        code: 'STORE_ANSWER_UNUSABLE',
        phase: 'credential',
        hint: 'Name a static role in vault_static_role, and a dynamic one in vault_database_role.',
      })
    }
    const credential = { ...user, issuedAt, expiresAt: this.endOf(issuedAt + lifeMillis) }
    for (const [taken, end] of this.#taken) if (end <= issuedAt) this.#taken.delete(taken)
    this.#taken.set(id, issuedAt + lifeMillis)
    this.#lease = { id, lifeMillis, renewable: renewable === true, login: this.vault.logins, credential }
    return credential
  }

  /** Revokes every lease, so that no user outlives the pool. What fails ends with its lease. */
  override async release(): Promise<void> {
    const revoke = ([id]: readonly [string, number]): Promise<Answer> =>
      this.vault.query(
        { step: 'revoke a lease', path: 'sys/leases/revoke', body: { lease_id: id, sync: true } },
        this.#releasing.signal,
      )
    await Promise.allSettled([...this.#taken].filter(([, end]) => end > Date.now()).map(revoke))
    this.#taken.clear()
    await super.release()
  }
}

/** The user of a static role, whose password Vault rotates. */
class StaticUser extends Users {
  protected override async fetch(signal: AbortSignal): Promise<PasswordCredential> {
    const issuedAt = Date.now()
    const { answer, user } = await this.ask(signal)
    const { ttl } = isRecord(answer.body.data) ? answer.body.data : {}
    // At the moment of the rotation the time to it is zero; the password may be the old or the new one.
    return { ...user, issuedAt, expiresAt: issuedAt + Math.max(millisOf(ttl), ROTATING_MILLIS) }
  }
}

function millisOf(seconds: unknown): number {
  return typeof seconds === 'number' && Number.isFinite(seconds) ? seconds * 1000 : 0
}
