import type { CredentialSource } from '../credentials/credential.ts'
import type { Driver } from '../drivers/driver.ts'
import type { PoolsmithError } from '../errors.ts'
import { Attempt } from './attempt.ts'
import { recycleTime, type Session } from './session.ts'

export interface OpenerConfig<Raw extends object> {
  readonly driver: Driver<Raw>
  readonly source: CredentialSource
  /** The limit of one attempt, whatever hangs in it. */
  readonly limitMillis: number
  readonly recycleMillis: number
  readonly now: () => number
  readonly random: () => number
}

/** Opens sessions and keeps account of the attempts under way. */
export class Opener<Raw extends object> {
  readonly #config: OpenerConfig<Raw>
  readonly #attempts = new Set<Attempt<Raw>>()
  #promising = 0
  #lastId = 0
  #ended: PoolsmithError | undefined

  constructor(config: OpenerConfig<Raw>) {
    this.#config = config
  }

  get inFlight(): number {
    return this.#attempts.size
  }

  /** Those in flight that began while nothing spoke against them; the others only probe whether a failure is over. */
  get promising(): number {
    return this.#promising
  }

  /** The attempt that has been under way for longest. */
  get oldest(): Attempt<Raw> | undefined {
    return this.#attempts.values().next().value
  }

  /**
   * @param promising no attempt has failed since the last one that succeeded
   * @throws PoolsmithError
   */
  async open(generation: number, promising: boolean): Promise<Session<Raw>> {
    const { driver, source, limitMillis, recycleMillis, now, random } = this.#config
    const attempt = new Attempt(driver, source, limitMillis)
    this.#attempts.add(attempt)
    if (promising) this.#promising++
    try {
      const { raw, credential, credentialMillis } = await attempt.run()
      if (this.#ended !== undefined) {
        driver.abort(raw)
        throw this.#ended
      }
      const openedAt = now()
      return {
        id: ++this.#lastId,
        raw,
        credential,
        openingMillis: attempt.millis,
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
    } finally {
      this.#attempts.delete(attempt)
      if (promising) this.#promising--
    }
  }

  /** Aborts what is under way and lets nothing more through. */
  end(error: PoolsmithError): void {
    this.#ended = error
    for (const attempt of this.#attempts) attempt.abort(error)
  }
}
