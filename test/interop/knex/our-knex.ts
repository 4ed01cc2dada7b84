/**
 * Preloaded into the process that runs knex's own tests over our engine: `knex({ client, connection, pool, ... })` gives
 * an instance over an engine of `createEngine`.
 *
 * knex's function returns at once and createEngine does not, so that the engines are made before the tests are loaded.
 */

import { createRequire } from 'node:module'
import type { Knex } from 'knex'
import { createEngine, type Engine } from '../../../src/index.ts'

interface Settings {
  readonly host?: string
  readonly server?: string
  readonly port: number
  readonly user: string
  readonly password: string
  readonly database: string
  readonly options?: { readonly mapBinding?: (value: unknown) => undefined }
}

type Config = Knex.Config & {
  readonly client: string
  readonly connection: Settings
  readonly acquireConnectionTimeout?: number
}

const require = createRequire(import.meta.url)
const dialect = process.env['DB'] === 'mssql' ? 'mssql' : 'postgres'
const settings = (require(process.env['KNEX_TEST'] ?? '') as Readonly<Record<string, Settings>>)[dialect] as Settings
/** Created by a test of the SQL Server suite. */
const DATABASES = dialect === 'mssql' ? [settings.database, 'knex_test_CS_AS_SC'] : [settings.database]
/** The pools that the tests ask for, as `largest size, milliseconds to wait`, and how many of each at most. */
const POOLS = {
  '10, 60000': 90,
  '2, 60000': 20,
  '1, 60000': 20,
  '1, 1000': 5,
  '1, 300': 5,
  '1, 200': 5,
  '1, 100': 5,
  '2, 100': 5,
}

const spare = new Map<string, Engine[]>()

function engineFor(database: string, wish: string): Promise<Engine> {
  const [size, millis] = wish.split(', ').map(Number)
  return createEngine(
    {
      type: dialect,
      host: settings.host ?? settings.server,
      port: settings.port,
      login: settings.user,
      password: settings.password,
      database,
      extra: dialect === 'mssql' ? { trust_server_certificate: true } : { sslmode: 'disable' },
    },
    {
      pool_size: size,
      max_overflow: 0,
      knex: { acquireConnectionTimeout: millis, connection: { options: { mapBinding: settings.options?.mapBinding } } },
    },
  )
}

function engineOf({ connection, pool, acquireConnectionTimeout }: Config): Engine {
  if (typeof connection !== 'object') throw new Error('poolsmith: a function as connection is a strategy here')
  const millis = acquireConnectionTimeout ?? pool?.acquireTimeoutMillis ?? 60_000
  const wish = `${connection.database}, ${pool?.max ?? 10}, ${millis}`
  const engine = spare.get(wish)?.pop()
  if (engine === undefined) throw new Error(`no engine is left for the pool (${wish})`)
  return engine
}

const place = require.resolve('knex/lib/knex-builder/Knex.js')
const bare = require(place) as typeof import('knex').knex & Readonly<Record<string, unknown>>

function knex(config: Config): Knex {
  // createEngine's own call, with our class.
  if (typeof config?.client !== 'string') return bare(config)
  if (config.connectionPool !== undefined) throw new Error('poolsmith: the pool is made by createEngine')
  const { client, connection, pool, acquireConnectionTimeout, ...rest } = config
  const engine = engineOf(config)
  const db = bare({ ...rest, client: engine.client.constructor, connectionPool: engine.pool })
  // The tests make further instances from it.
  db.client.config = new bare.Client(config).config
  return db
}

Object.assign(knex, bare)
const cached = require.cache[place]
if (cached !== undefined) cached.exports = knex

for (const database of DATABASES) {
  for (const [wish, count] of Object.entries(POOLS)) {
    spare.set(`${database}, ${wish}`, await Promise.all(Array.from({ length: count }, () => engineFor(database, wish))))
  }
}
