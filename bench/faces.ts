/**
 * The cost of the faces for data layers, on a real PostgreSQL: a `pg.Pool` of ours, with credential check and pre-ping,
 * compared with pg's own, which checks nothing, for the same login; alone and under Kysely and Drizzle.
 * The pool with its metrics told to OpenTelemetry is compared with one that is not observed.
 *
 * Drizzle is a dependency of the examples: `node scripts/launch.cjs install examples/layers` installs it.
 */

import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { Kysely, PostgresDialect, sql } from 'kysely'
import pg from 'pg'
import { createPgPool, type PgPool } from '../src/engine/pg/index.ts'
import type { Meter } from '../src/telemetry/api.ts'
import { tellPools } from '../src/telemetry/pool-metrics.ts'
import { type PostgresServer, startPostgres } from '../test/support/postgres.ts'
import { compare, type Result } from './measure.ts'

const HAND_OUTS = 5000
/** Of one session, after {@link WARM_UP} more: sessions of a pool live long. */
const STATEMENTS = 3000
const WARM_UP = 300
const ROOT = join(import.meta.dirname, '..')

type Drizzle = (config: { readonly client: pg.Pool }) => { execute(statement: string): Promise<unknown> }

function ourPool(server: PostgresServer): Promise<PgPool> {
  const { host, port, superuser: login, superuserPassword: password } = server
  const record = { type: 'postgres', host, port, login, password, database: 'postgres', extra: { sslmode: 'disable' } }
  return createPgPool(record as never, { pool_size: 10, max_overflow: 0 })
}

function theirPool(server: PostgresServer): pg.Pool {
  const { host, port, superuser: user, superuserPassword: password } = server
  return new pg.Pool({ host, port, user, password, database: 'postgres', max: 10 })
}

async function handOutMicros(pool: pg.Pool): Promise<number> {
  const begin = performance.now()
  for (let count = 0; count < HAND_OUTS; count++) (await pool.connect()).release()
  return ((performance.now() - begin) * 1000) / HAND_OUTS
}

async function micros(statement: () => Promise<unknown>): Promise<number> {
  for (let count = 0; count < WARM_UP; count++) await statement()
  const begin = performance.now()
  for (let count = 0; count < STATEMENTS; count++) await statement()
  return ((performance.now() - begin) * 1000) / STATEMENTS
}

async function handOuts(server: PostgresServer): Promise<Result> {
  const ours = await ourPool(server)
  const peer = theirPool(server)
  try {
    return await compare({
      name: 'connect + release',
      unit: 'us',
      bound: 1,
      rounds: 50,
      ours: () => handOutMicros(ours),
      peer: () => handOutMicros(peer),
    })
  } finally {
    await ours.end()
    await peer.end()
  }
}

/** A layer over a pool; gives one `select 1`. */
type Layer = (pool: pg.Pool) => () => Promise<unknown>

/** Every round has its own session, which lives for a while: some are twice as fast as others for their whole life. */
function statements(name: string, layer: Layer, server: PostgresServer): Promise<Result> {
  const onNewSession = async (pool: pg.Pool): Promise<number> => {
    try {
      return await micros(layer(pool))
    } finally {
      await pool.end()
    }
  }
  return compare({
    name,
    unit: 'us',
    bound: 1,
    rounds: 100,
    ours: async () => onNewSession(await ourPool(server)),
    peer: () => onNewSession(theirPool(server)),
  })
}

const kysely: Layer = (pool) => {
  const db = new Kysely<object>({ dialect: new PostgresDialect({ pool }) })
  return () => sql`select 1`.execute(db)
}

async function acquireMicros(pool: PgPool['poolsmith']): Promise<number> {
  const begin = performance.now()
  for (let count = 0; count < HAND_OUTS; count++) pool.release(await pool.acquire().promise)
  return ((performance.now() - begin) * 1000) / HAND_OUTS
}

/** Loads packages of an example. */
function packagesOf(folder: string): NodeJS.Require {
  const { status } = spawnSync(process.execPath, ['scripts/launch.cjs', 'install', folder], {
    cwd: ROOT,
    stdio: 'inherit',
  })
  if (status !== 0) throw new Error(`The packages of ${folder} could not be installed.`)
  return createRequire(join(ROOT, folder, 'package.json'))
}

interface MetricsSdk {
  readonly MeterProvider: new (options: { readonly readers: readonly object[] }) => { getMeter(name: string): Meter }
  readonly PeriodicExportingMetricReader: new (options: { readonly exporter: object }) => { shutdown(): Promise<void> }
  readonly InMemoryMetricExporter: new (temporality: number) => object
}

/** The same pool with its metrics told to OpenTelemetry's SDK with an exporter, compared with a pool without listeners. */
async function acquires(server: PostgresServer): Promise<Result> {
  const sdk = packagesOf('examples/telemetry')('@opentelemetry/sdk-metrics') as MetricsSdk
  const ours = await ourPool(server)
  const peer = await ourPool(server)
  const reader = new sdk.PeriodicExportingMetricReader({ exporter: new sdk.InMemoryMetricExporter(1) })
  const stop = tellPools(new sdk.MeterProvider({ readers: [reader] }).getMeter('bench'), [ours.poolsmith])
  try {
    return await compare({
      name: 'acquire + release with metrics on',
      unit: 'us',
      bound: 1.1,
      rounds: 50,
      ours: () => acquireMicros(ours.poolsmith),
      peer: () => acquireMicros(peer.poolsmith),
    })
  } finally {
    stop()
    await reader.shutdown()
    await ours.end()
    await peer.end()
  }
}

function drizzle(): Layer {
  const load = packagesOf('examples/layers')
  const { drizzle: make } = load('drizzle-orm/node-postgres') as { readonly drizzle: Drizzle }
  return (client) => {
    const db = make({ client })
    return () => db.execute('select 1')
  }
}

export async function run(): Promise<Result[]> {
  await using server = await startPostgres()
  return [
    await handOuts(server),
    await statements('select 1 through Kysely', kysely, server),
    await statements('select 1 through Drizzle', drizzle(), server),
    await acquires(server),
  ]
}
