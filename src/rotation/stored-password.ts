/** A password in a store while it is rotated: its next value stands beside it until the server has it. */

import { PoolsmithError } from '../errors.ts'
import { Secret } from '../secret.ts'
import type { SecretReader } from '../stores/reader.ts'
import { PENDING, type StoredSecret } from '../vault/stored-secret.ts'
import { assertWritable, writeSecret } from './write-secret.ts'

export interface Account {
  readonly user: string
  readonly password: Secret
}

/** The store at one moment. */
export interface PasswordState {
  readonly secret: StoredSecret
  readonly present: Account
  /** The account that takes the place of the present one: of the same user, or of the other one. */
  readonly pending: Account | undefined
}

export interface StoredPasswordPlace {
  readonly store: SecretReader
  readonly path: string
  readonly field: string
  /** The field of the user, where the user is in the secret too. */
  readonly userField: string | undefined
  /** The user, where it is not. */
  readonly user: string | undefined
}

/** How often a promotion is tried while other fields of the secret change. */
const MOST_ATTEMPTS = 5

export class StoredPassword {
  readonly #place: StoredPasswordPlace

  constructor(place: StoredPasswordPlace) {
    this.#place = place
  }

  /** As errors name it. */
  get name(): string {
    return this.#place.store.placeOf(this.#place.path)
  }

  /** @throws PoolsmithError STORE_…, SECRET_… */
  async read(signal: AbortSignal): Promise<PasswordState> {
    const { store, path } = this.#place
    assertWritable(store, path)
    return this.#stateOf(await store.read(path, signal))
  }

  /** Puts the next account beside the present one. @throws PoolsmithError ROTATION_RUNNING, STORE_… */
  async begin(state: PasswordState, next: Account, signal: AbortSignal): Promise<PasswordState> {
    const { field, userField } = this.#place
    const fields = state.secret.texts()
    fields.set(field + PENDING, next.password)
    if (userField !== undefined && next.user !== state.present.user) {
      fields.set(userField + PENDING, new Secret(next.user))
    }
    return this.#stateOf(await this.#write(state, fields, signal))
  }

  /**
   * Makes the pending account the present one, in one step.
   *
   * @returns whether it was done here; false: another process had done it
   * @throws PoolsmithError ROTATION_RUNNING, STORE_…
   */
  async promote(next: Account, signal: AbortSignal): Promise<boolean> {
    for (let attempt = 1; ; attempt++) {
      const state = await this.read(signal)
      if (isSame(state.present, next) && state.pending === undefined) return false
      this.assertPending(state, next)
      try {
        await this.#write(state, this.#promoted(state.secret), signal)
        return true
      } catch (error) {
        // Another field may have changed, or another process has promoted it.
        if (!isConflict(error) || attempt === MOST_ATTEMPTS) throw error
      }
    }
  }

  /** Takes the pending account away, if it is still this one. @throws PoolsmithError STORE_… */
  async withdraw(next: Account, signal: AbortSignal): Promise<void> {
    const { field, userField } = this.#place
    const state = await this.read(signal)
    if (state.pending === undefined || !isSame(state.pending, next)) return
    const fields = state.secret.texts()
    for (const name of [field, userField]) fields.delete(name + PENDING)
    await this.#write(state, fields, signal)
  }

  /** @throws PoolsmithError ROTATION_RUNNING when another account is pending, or none */
  assertPending({ pending }: PasswordState, next: Account): void {
    if (pending === undefined || !isSame(pending, next))
      throw running(`${this.name} has another pending password by now`)
  }

  #stateOf(secret: StoredSecret): PasswordState {
    const { field, userField, user = '' } = this.#place
    const present = {
      user: userField === undefined ? user : secret.read(userField, this.name).reveal(),
      password: secret.read(field, this.name),
    }
    // Another field of the secret may have one of its own.
    const texts = secret.texts()
    const password = texts.get(field + PENDING)
    const next = texts.get(userField + PENDING)?.reveal() ?? present.user
    return { secret, present, pending: password && { user: next, password } }
  }

  #promoted(secret: StoredSecret): ReadonlyMap<string, Secret> {
    const fields = secret.texts()
    for (const name of [this.#place.field, this.#place.userField]) {
      const next = fields.get(name + PENDING)
      if (name === undefined || next === undefined) continue
      fields.set(name, next)
      fields.delete(name + PENDING)
    }
    return fields
  }

  async #write(state: PasswordState, fields: ReadonlyMap<string, Secret>, signal: AbortSignal): Promise<StoredSecret> {
    const { store, path } = this.#place
    try {
      return await writeSecret(store, path, fields, { replaces: state.secret, signal })
    } catch (error) {
      if (error instanceof PoolsmithError && error.code === 'SECRET_CONFLICT') {
        throw running(`${this.name} was changed by another program at the same time`, error)
      }
      throw error
    }
  }
}

/** Also where there is neither. */
export function isSame(one: Account | undefined, other: Account | undefined): boolean {
  if (one === undefined || other === undefined) return one === other
  return one.user === other.user && one.password.equals(other.password)
}

function isConflict(error: unknown): boolean {
  return error instanceof PoolsmithError && error.code === 'ROTATION_RUNNING' && error.cause !== undefined
}

export function running(reason: string, cause?: unknown): PoolsmithError {
  return new PoolsmithError(`Another rotation is under way: ${reason}.`, {
    code: 'ROTATION_RUNNING',
    phase: 'credential',
    transient: true,
    hint: 'Wait until it has ended, and look with `poolsmith rotation` before you rotate again.',
    cause,
  })
}
