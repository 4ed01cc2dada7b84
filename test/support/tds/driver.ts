/** Our SQL Server driver for tests: options as extras, and events are kept. */

import { parseFields } from '../../../src/connections/fields.ts'
import type { Credential } from '../../../src/credentials/credential.ts'
import {
  createSqlServerDriver,
  type SqlServerDriver,
  type SqlServerDriverContext,
} from '../../../src/drivers/sqlserver/driver.ts'
import { type SqlServerTarget, sqlServerFields } from '../../../src/drivers/sqlserver/options.ts'
import type { SqlServerConnection } from '../../../src/drivers/sqlserver/tedious-connection.ts'
import { ConfigError, type Phase } from '../../../src/errors.ts'
import type { EventName } from '../../../src/events.ts'
import { Secret } from '../../../src/secret.ts'

export interface TestDriver {
  readonly driver: SqlServerDriver
  readonly events: { readonly name: EventName; readonly payload: object }[]
}

export function testDriver(
  target: SqlServerTarget,
  extra: Readonly<Record<string, unknown>>,
  context: Partial<SqlServerDriverContext> = {},
): TestDriver {
  const { values, problems } = parseFields(sqlServerFields, extra, { strict: true })
  if (problems.length > 0) throw new ConfigError(problems)
  const events: TestDriver['events'] = []
  const driver = createSqlServerDriver({ host: 'localhost', database: 'master', ...target }, values, {
    emit: (name, payload) => events.push({ name, payload }),
    ...context,
  })
  return { driver, events }
}

export function password(user: string, secret: string): Credential {
  return { kind: 'password', identity: user, user, password: new Secret(secret), issuedAt: Date.now() }
}

export function token(text: string): Credential {
  return { kind: 'token', identity: 'svc', token: new Secret(text), issuedAt: Date.now() }
}

export interface Opening {
  readonly raw: SqlServerConnection
  readonly phases: readonly Phase[]
}

export async function open(driver: SqlServerDriver, credential: Credential, limitMillis = 10_000): Promise<Opening> {
  const phases: Phase[] = []
  const signal = AbortSignal.timeout(limitMillis)
  const raw = await driver.open(credential, { signal, enter: (phase) => phases.push(phase) })
  return { raw, phases }
}
