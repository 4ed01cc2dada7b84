/** A poolsmith pool over a real server, without an engine around it. */

import type pg from 'pg'
import { parseFields } from '../../src/connections/fields.ts'
import type { Credential, CredentialSource } from '../../src/credentials/credential.ts'
import { staticSource } from '../../src/credentials/static-source.ts'
import { createPostgresDriver } from '../../src/drivers/postgres/driver.ts'
import { postgresFields } from '../../src/drivers/postgres/options.ts'
import { EventHub } from '../../src/pool/events.ts'
import type { PoolOptions } from '../../src/pool/options.ts'
import { ConnectionPool } from '../../src/pool/pool.ts'
import { Secret } from '../../src/secret.ts'

/** Where to connect: a server of the tests, or a port in front of one. */
export interface Target {
  readonly host: string
  readonly port: number
  readonly superuser: string
  readonly superuserPassword: string
}

export function passwordOf(target: Target): Credential {
  return {
    kind: 'password',
    identity: target.superuser,
    password: new Secret(target.superuserPassword),
    issuedAt: Date.now(),
  }
}

export function postgresPool(
  target: Target,
  options: PoolOptions = {},
  more: { readonly source?: CredentialSource; readonly user?: string; readonly driver?: Record<string, unknown> } = {},
): ConnectionPool<pg.Client> {
  const events = new EventHub()
  const { values } = parseFields(postgresFields, { sslmode: 'disable', ...more.driver })
  const driver = createPostgresDriver(
    { host: target.host, port: target.port, login: more.user ?? target.superuser, database: 'postgres' },
    values,
    { emit: events.emit },
  )
  return new ConnectionPool({ driver, source: more.source ?? staticSource(passwordOf(target)), options, events })
}

/** One statement over the pool; the first column of the first row. */
export async function ask(pool: ConnectionPool<pg.Client>, sql: string): Promise<unknown> {
  return pool.use(async (client) => {
    const { rows } = await client.query({ text: sql, rowMode: 'array' })
    return rows[0]?.[0]
  })
}
