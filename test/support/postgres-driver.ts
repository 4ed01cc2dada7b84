/** Sessions opened by our own driver, for tests that compare or disturb them. */

import type pg from 'pg'
import { parseFields } from '../../src/connections/fields.ts'
import type { Credential } from '../../src/credentials/credential.ts'
import type { Driver } from '../../src/drivers/driver.ts'
import type { Lookup } from '../../src/drivers/network/socket.ts'
import { createPostgresDriver, type PostgresDriver } from '../../src/drivers/postgres/driver.ts'
import { type PostgresTarget, postgresFields } from '../../src/drivers/postgres/options.ts'
import { ConfigError, type Phase, PoolsmithError } from '../../src/errors.ts'
import type { EventFacts, EventName } from '../../src/events.ts'
import { Secret } from '../../src/secret.ts'

export interface SeenEvent {
  readonly name: EventName
  readonly payload: EventFacts[EventName]
}

export interface TestDriver {
  readonly driver: PostgresDriver
  readonly events: SeenEvent[]
}

export interface TestDriverContext {
  readonly home?: string
  readonly lookup?: Lookup
}

/** A driver as the engine makes it from extras; it finds libpq's default files only below `home`. */
export function driverFor(
  target: PostgresTarget,
  extra: Readonly<Record<string, unknown>> = {},
  context: TestDriverContext = {},
): TestDriver {
  const { values, problems } = parseFields(postgresFields, extra, { strict: true })
  if (problems.length > 0) throw new ConfigError(problems)
  const events: SeenEvent[] = []
  const driver = createPostgresDriver(target, values, {
    home: '/nonexistent',
    ...context,
    emit: (name, payload) => events.push({ name, payload }),
  })
  return { driver, events }
}

export function passwordCredential(password: string): Credential {
  return { kind: 'password', password: new Secret(password), identity: 'test', issuedAt: 0 }
}

export function tokenCredential(token: string): Credential {
  return { kind: 'token', token: new Secret(token), identity: 'test', issuedAt: 0 }
}

export interface OpenedSession extends AsyncDisposable {
  readonly client: pg.Client
  readonly phases: readonly Phase[]
}

/** Opens one session within ten seconds; disposing closes it. */
export async function openSession(
  driver: Driver<pg.Client>,
  credential: Credential,
  signal: AbortSignal = AbortSignal.timeout(10_000),
): Promise<OpenedSession> {
  const phases: Phase[] = []
  const client = await driver.open(credential, { signal, enter: (phase) => phases.push(phase) })
  return { client, phases, [Symbol.asyncDispose]: () => driver.close(client) }
}

/** The error with which opening fails. */
export async function openingError(
  driver: Driver<pg.Client>,
  credential: Credential,
  signal?: AbortSignal,
): Promise<PoolsmithError> {
  let opened: OpenedSession
  try {
    opened = await openSession(driver, credential, signal)
  } catch (error) {
    if (error instanceof PoolsmithError) return error
    throw error
  }
  await opened[Symbol.asyncDispose]()
  throw new Error('The session was opened, but should not have been.')
}
