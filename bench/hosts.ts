/**
 * Lists of hosts, on real PostgreSQL servers with streaming replication:
 *
 * - The time from the moment at which a promoted standby accepts writes to the first write that succeeds, of a pool of
 *   ten under load. Npgsql and pgjdbc look again after 10 s; here it is at most 1 s.
 * - Acquire and release with the record of a place, against the same pool over the same driver without it.
 * - A first host that is silent: thirty openings wait for one `connect_timeout` in all.
 */

import pg from 'pg'
import { staticSource } from '../src/credentials/static-source.ts'
import type { Driver } from '../src/drivers/driver.ts'
import { createEngine, type Engine } from '../src/index.ts'
import { ConnectionPool } from '../src/pool/pool.ts'
import { startFakePostgres } from '../test/support/fake-postgres.ts'
import { type PostgresServer, startPostgres } from '../test/support/postgres.ts'
import { driverFor, passwordCredential } from '../test/support/postgres-driver.ts'
import { promote, REPLICATED, startStandby } from '../test/support/standby.ts'
import { compare, compared, type Result } from './measure.ts'

const PROMOTIONS = 7
const POOL_SIZE = 10
const WORKERS = 20
/** The longest time until a write succeeds. */
const BOUND_MILLIS = 1000
const LOOK_MILLIS = 2
const HAND_OUTS = 5000
const OPENINGS = 30
const CONNECT_TIMEOUT = 1

function engineOn(servers: readonly Pick<PostgresServer, 'port'>[], password: string, extra: object): Promise<Engine> {
  return createEngine({
    type: 'postgres',
    host: servers.map(() => '127.0.0.1').join(),
    port: servers.map(({ port }) => port).join(),
    login: 'postgres',
    password,
    database: 'postgres',
    extra: { sslmode: 'disable', max_overflow: 0, ...extra },
  })
}

const pause = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis))

/** Inserts until `stopped`; a statement that fails is the caller's to give up, and the next one is another. */
async function write(db: Engine, written: (at: number) => void, stopped: () => boolean): Promise<void> {
  while (!stopped()) {
    try {
      await db('written').insert({ n: 1 })
      written(performance.now())
    } catch {
      await pause(LOOK_MILLIS)
    }
  }
}

/** When a standby has become a server that accepts writes, on the clock of performance.now(). */
async function acceptance(standby: PostgresServer): Promise<number> {
  const client = new pg.Client({
    host: standby.host,
    port: standby.port,
    user: standby.superuser,
    password: standby.superuserPassword,
    database: 'postgres',
  })
  await client.connect()
  try {
    for (;;) {
      const { rows } = await client.query('select pg_is_in_recovery() as waits')
      if (!rows[0].waits) return performance.now()
      await pause(LOOK_MILLIS)
    }
  } finally {
    await client.end()
  }
}

/** Milliseconds from the acceptance to the first write. */
async function failoverMillis(): Promise<number> {
  await using primary = await startPostgres({ flavor: 'debian', hba: REPLICATED })
  await using standby = await startStandby(primary)
  await primary.sql('create table written (n int)')
  await using db = await engineOn([primary, standby], primary.superuserPassword, {
    pool_size: POOL_SIZE,
    target_session_attrs: 'primary',
  })
  let count = 0
  let isStopped = false
  const first = Promise.withResolvers<number>()
  let isDown = false
  const written = (at: number): void => {
    count++
    if (isDown) first.resolve(at)
  }
  const workers = Array.from({ length: WORKERS }, () => write(db, written, () => isStopped))
  while (count < 1000) await pause(LOOK_MILLIS)
  const accepts = acceptance(standby)
  await primary.stop('immediate')
  // Answers that had been sent before the end are read by now.
  await pause(50)
  isDown = true
  await promote(standby)
  const [acceptedAt, writtenAt] = await Promise.all([accepts, first.promise])
  isStopped = true
  await Promise.all(workers)
  return Math.max(0, writtenAt - acceptedAt)
}

async function failovers(): Promise<Result> {
  const ours: number[] = []
  for (let round = 0; round < PROMOTIONS; round++) ours.push(await failoverMillis())
  return compared({
    name: `first write of a pool of ${POOL_SIZE} after a promotion, at most`,
    unit: 'ms',
    bound: 1,
    ours,
    peer: ours.map(() => BOUND_MILLIS),
  })
}

type PostgresDriver = ReturnType<typeof driverFor>['driver']

/** The driver as the pool sees it; without places it keeps one number for each session, as before there were lists. */
function seen(driver: PostgresDriver, hasPlaces: boolean): Driver<pg.Client> {
  const proven = new WeakMap<pg.Client, number>()
  const doubt = { current: 0 }
  const shared: Driver<pg.Client> = {
    open: (credential, context) => driver.open(credential, context),
    ping: (raw) => driver.ping(raw),
    needsReset: (raw, mode) => driver.needsReset(raw, mode),
    tidy: (raw) => driver.tidy?.(raw),
    reset: (raw, mode) => driver.reset(raw, mode),
    close: (raw) => driver.close(raw),
    abort: (raw) => driver.abort(raw),
    isBroken: (raw) => driver.isBroken(raw),
    onEnd: (raw, listener) => driver.onEnd?.(raw, listener),
    info: (raw) => driver.info(raw),
  }
  if (!hasPlaces) return { ...shared, mustPing: (raw) => (proven.get(raw) ?? 0) !== doubt.current }
  return {
    ...shared,
    places: driver.places,
    placeOf: (raw) => driver.placeOf?.(raw),
    mustPing: (raw) => driver.mustPing?.(raw) === true,
  }
}

async function handOuts(server: PostgresServer): Promise<Result> {
  const poolOf = (hasPlaces: boolean): ConnectionPool<pg.Client> => {
    const target = { host: server.host, port: server.port, login: server.superuser, database: 'postgres' }
    const source = staticSource(passwordCredential(server.superuserPassword))
    return new ConnectionPool({ driver: seen(driverFor(target, { sslmode: 'disable' }).driver, hasPlaces), source })
  }
  await using ours = poolOf(true)
  await using direct = poolOf(false)
  const micros = async (pool: ConnectionPool<pg.Client>): Promise<number> => {
    const begin = performance.now()
    for (let count = 0; count < HAND_OUTS; count++) pool.release(await pool.acquire().promise)
    return ((performance.now() - begin) * 1000) / HAND_OUTS
  }
  return await compare({
    name: 'acquire + release with one host, against a pool that knows no places',
    unit: 'us',
    bound: 1.02,
    rounds: 100,
    ours: () => micros(ours),
    peer: () => micros(direct),
  })
}

/** Opens thirty sessions at once. */
async function openingsMillis(db: Engine): Promise<number> {
  const { pool } = db
  const begin = performance.now()
  const held = await Promise.all(Array.from({ length: OPENINGS }, () => pool.acquire().promise))
  const millis = performance.now() - begin
  for (const raw of held) pool.release(raw)
  await db.destroy()
  return millis
}

function deadFirst(server: PostgresServer): Promise<Result> {
  const password = server.superuserPassword
  const extra = { pool_size: OPENINGS, connect_timeout: CONNECT_TIMEOUT }
  return compare({
    name: `${OPENINGS} openings with a silent first host, against one connect_timeout and the openings`,
    unit: 'ms',
    bound: 1.1,
    rounds: 8,
    ours: async () => {
      // Another port in each round: the process remembers that one was silent.
      await using silent = await startFakePostgres(async (peer) => {
        await peer.startup()
        peer.drain()
      })
      return await openingsMillis(await engineOn([silent, server], password, extra))
    },
    peer: async () => CONNECT_TIMEOUT * 1000 + (await openingsMillis(await engineOn([server], password, extra))),
  })
}

export async function run(): Promise<Result[]> {
  await using server = await startPostgres()
  return [await failovers(), await handOuts(server), await deadFirst(server)]
}
