import { mock } from 'node:test'
import type { Credential, CredentialSource } from '../../../src/credentials/credential.ts'
import { type RefreshingSourceOptions, refreshingSource } from '../../../src/credentials/refreshing-source.ts'
import { PoolsmithError } from '../../../src/errors.ts'
import type { EventName, PoolsmithEvents } from '../../../src/events.ts'
import { Secret } from '../../../src/secret.ts'

export const START = Date.UTC(2026, 0, 1)

/** A source over an issuer that the test drives, with every clock held still. */
export function issuer(options: { lifeMillis?: number } & Partial<RefreshingSourceOptions> = {}) {
  const { lifeMillis, ...rest } = options
  const events: { name: EventName; payload: unknown }[] = []
  const state = {
    fetches: 0,
    signals: [] as AbortSignal[],
    /** The answer of the next fetches; the last entry stays. Default is to answer at once. */
    answer: (async () => state.issue(`secret-${state.fetches}`)) as (signal: AbortSignal) => Promise<Credential>,
    issue(password: string, life = lifeMillis): Credential {
      const issuedAt = Date.now()
      return {
        kind: 'password',
        identity: 'svc',
        password: new Secret(password),
        issuedAt,
        ...(life === undefined ? {} : { expiresAt: issuedAt + life }),
      }
    },
    named: <Name extends EventName>(name: Name): PoolsmithEvents[Name][] =>
      events.filter((event) => event.name === name).map((event) => event.payload as PoolsmithEvents[Name]),
    source: undefined as unknown as CredentialSource,
  }
  state.source = refreshingSource({
    random: () => 0,
    emit: (name, payload) => {
      events.push({ name, payload })
    },
    fetch: (signal) => {
      state.fetches++
      state.signals.push(signal)
      return state.answer(signal)
    },
    ...rest,
  })
  return state
}

export const passwordOf = (credential: Credential | undefined): string | undefined =>
  credential?.kind === 'password' ? credential.password.reveal() : undefined

/** Lets every promise that can settle do so; setImmediate is not held. */
export const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
}

/** Moves the clock on in steps, so that timers that are set on the way fire too. */
export const pass = async (millis: number, steps = 10): Promise<void> => {
  for (let step = 0; step < steps; step++) {
    mock.timers.tick(millis / steps)
    await settle()
  }
}

export const throttled = (): Promise<never> =>
  Promise.reject(
    new PoolsmithError('throttled', {
      code: 'CREDENTIAL_FAILED',
      phase: 'credential',
      transient: true,
      details: { retryAfterMillis: 7000 },
    }),
  )
export const down = (): Promise<never> =>
  Promise.reject(Object.assign(new Error('connect refused'), { code: 'ECONNREFUSED' }))
export const refused = (): Promise<never> =>
  Promise.reject(new PoolsmithError('no', { code: 'CREDENTIAL_REFUSED', phase: 'credential' }))
export const hang = (): Promise<never> => new Promise(() => undefined)
