import type { Credential, CredentialSource } from '../credentials/credential.ts'
import { sameSecret } from '../credentials/same-secret.ts'
import type { Driver } from '../drivers/driver.ts'
import { atPlace, type Whereabouts } from '../drivers/whereabouts.ts'
import { PoolsmithError } from '../errors.ts'
import type { Place } from '../hosts/place.ts'
import { Attempt, type Opened } from './attempt.ts'
import { isRefusal } from './failures.ts'
import type { Prepare } from './prepare.ts'
import { recycleTime, type Session } from './session.ts'

export interface OpenerConfig<Raw extends object> {
  readonly driver: Driver<Raw>
  readonly where: Whereabouts | undefined
  readonly source: CredentialSource
  /** The limit of one attempt, whatever hangs in it. */
  readonly limitMillis: number
  readonly recycleMillis: number
  readonly now: () => number
  readonly prepare: Prepare<Raw>
  readonly random: () => number
  /** Whether callers wait for a session. */
  readonly isAwaited: () => boolean
}

/** Opens sessions and keeps account of the attempts under way. */
export class Opener<Raw extends object> {
  readonly #config: OpenerConfig<Raw>
  readonly #attempts = new Set<Attempt<Raw>>()
  #promising = 0
  #lastId = 0
  #ended: PoolsmithError | undefined
  /** The credential that the server refused last, until a login succeeds. */
  #refused: { readonly credential: Credential; readonly error: PoolsmithError } | undefined

  constructor(config: OpenerConfig<Raw>) {
    this.#config = config
  }

  get inFlight(): number {
    return this.#attempts.size
  }

  /** Those in flight that began before the first failure; the others only probe whether the failure has passed. */
  get promising(): number {
    return this.#promising
  }

  /** The attempt that has been under way for longest. */
  get oldest(): Attempt<Raw> | undefined {
    return this.#attempts.values().next().value
  }

  /**
   * @param at the only place to open it at; undefined: the driver decides
   * @param promising no attempt has failed since the last one that succeeded
   * @throws PoolsmithError, NotTried
   */
  async open(generation: number, promising: boolean, at?: Place): Promise<Session<Raw>> {
    const { driver, source, limitMillis, prepare } = this.#config
    const where = this.#config.where && atPlace(this.#config.where, at)
    const refusalOf = (credential: Credential) => this.#refusalOf(credential)
    const attempt = new Attempt({ driver, where, source, limitMillis, refusalOf, at })
    this.#attempts.add(attempt)
    if (promising) this.#promising++
    try {
      const session = await attempt.run(async (opened) => {
        const made = this.#session(opened, generation)
        await prepare?.(made)
        return made
      })
      if (this.#ended !== undefined) {
        driver.abort(session.raw)
        throw this.#ended
      }
      this.#refused = undefined
      session.openingMillis = attempt.millis
      return session
    } catch (error) {
      const { credential } = attempt
      if (credential !== undefined && error instanceof PoolsmithError && isRefusal(error)) {
        this.#refused = { credential, error }
      }
      throw error
    } finally {
      this.#attempts.delete(attempt)
      if (promising) this.#promising--
    }
  }

  #session({ raw, credential, credentialMillis }: Opened<Raw>, generation: number): Session<Raw> {
    const { now, random, recycleMillis } = this.#config
    const openedAt = now()
    return {
      id: ++this.#lastId,
      raw,
      credential,
      openingMillis: 0,
      credentialMillis,
      openedAt,
      recycleAt: recycleTime(openedAt, recycleMillis, random()),
      generation,
      busy: false,
      closed: false,
      acquiredAt: openedAt,
      usedAt: openedAt,
      provenAt: openedAt,
      condemned: undefined,
      acquireSite: undefined,
      leakReported: false,
    }
  }

  /** In the background a refused credential is not tried again, since servers lock accounts; for a caller it is. */
  #refusalOf(credential: Credential): PoolsmithError | undefined {
    const refused = this.#refused
    if (refused === undefined || this.#config.isAwaited()) return undefined
    return sameSecret(refused.credential, credential) ? refused.error : undefined
  }

  /** Aborts what is under way and lets nothing more through. */
  end(error: PoolsmithError): void {
    this.#ended = error
    for (const attempt of this.#attempts) attempt.abort(error)
  }
}
