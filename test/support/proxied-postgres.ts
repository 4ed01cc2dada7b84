/** The PostgreSQL driver with its route through proxies, as the engine sets it up. */

import { parseFields } from '../../src/connections/fields.ts'
import type { ProxyInfo } from '../../src/drivers/driver.ts'
import { proxyFields } from '../../src/drivers/network/proxy/options.ts'
import { createProxies } from '../../src/drivers/network/proxy/proxies.ts'
import type { Lookup } from '../../src/drivers/network/socket.ts'
import { createPostgresDriver, type PostgresDriver } from '../../src/drivers/postgres/driver.ts'
import { postgresFields } from '../../src/drivers/postgres/options.ts'
import { ConfigError } from '../../src/errors.ts'
import type { EventName } from '../../src/events.ts'
import { openSession, passwordCredential } from './postgres-driver.ts'

export interface ProxiedOptions {
  readonly host: string
  readonly port: number
  readonly login: string
  readonly password: string
  /** The extras of the proxy. */
  readonly extra: Readonly<Record<string, unknown>>
  /** Extras of the driver. Default: `sslmode=disable`. */
  readonly driver?: Readonly<Record<string, unknown>>
  /** Default: empty. */
  readonly environment?: Readonly<Record<string, string>>
  /** Default: the system's resolver. */
  readonly lookup?: Lookup
}

export interface ProxiedDriver {
  readonly driver: PostgresDriver
  readonly events: readonly EventName[]
}

export function proxiedDriver(options: ProxiedOptions): ProxiedDriver {
  const { host, port, login, extra, driver = {}, environment = {}, lookup } = options
  const events: EventName[] = []
  const emit = (name: EventName): void => {
    events.push(name)
  }
  const parsed = parseFields(proxyFields, extra, { strict: true })
  if (parsed.problems.length > 0) throw new ConfigError(parsed.problems)
  const { route } = createProxies(parsed.values, { environment, emit, ...(lookup === undefined ? {} : { lookup }) })
  const { values } = parseFields(postgresFields, { sslmode: 'disable', ...driver }, { strict: true })
  const target = { host, port, login, database: 'postgres' }
  return { events, driver: createPostgresDriver(target, values, { emit, home: '/nonexistent', route }) }
}

/** Opens a session, uses it, and returns its proxy details. */
export async function proxyOfSession(options: ProxiedOptions): Promise<ProxyInfo | undefined> {
  const { driver } = proxiedDriver(options)
  await using session = await openSession(driver, passwordCredential(options.password))
  const { rows } = await session.client.query('select 6 * 7 as answer')
  if (rows[0]?.answer !== 42) throw new Error('not the server that was meant')
  return driver.info(session.client).proxy
}
