/**
 * The cost of the pool, on a real PostgreSQL: our engine, with credential check and pre-ping, compared with bare knex
 * on the same server with the same login and without both.
 */

import knexFactory, { type Knex } from 'knex'
import type { Credential } from '../src/credentials/credential.ts'
import { refreshingSource } from '../src/credentials/refreshing-source.ts'
import { createEngine, type Engine } from '../src/index.ts'
import { Secret } from '../src/secret.ts'
import { StrategyRegistry } from '../src/strategies/registry.ts'
import { defineStrategy } from '../src/strategies/strategy.ts'
import { type PostgresServer, startPostgres } from '../test/support/postgres.ts'
import { compare, exactly, type Result } from './measure.ts'

const HAND_OUTS = 5000
const STATEMENTS = 300
const COLD_SIZE = 20
const COLD_ACQUIRES = 200

/** A strategy that fetches its password like a token, and counts how often. */
function countingStrategy(password: string) {
  const counter = { fetches: 0 }
  const strategy = defineStrategy({
    name: 'counted',
    dialects: ['postgres'],
    description: 'A password that is fetched, for measuring.',
    fields: {},
    credentials: () =>
      refreshingSource({
        fetch: async (): Promise<Credential> => {
          counter.fetches++
          const issuedAt = Date.now()
          return {
            kind: 'password',
            identity: 'bench',
            password: new Secret(password),
            issuedAt,
            expiresAt: issuedAt + 3_600_000,
          }
        },
      }),
  })
  const registry = new StrategyRegistry()
  registry.register(strategy)
  return { registry, counter }
}

export function bareKnex(server: PostgresServer, size: number): Knex {
  return knexFactory({
    client: 'pg',
    connection: {
      host: server.host,
      port: server.port,
      user: server.superuser,
      password: server.superuserPassword,
      database: 'postgres',
      ssl: false,
    },
    pool: { min: 0, max: size },
  })
}

async function engine(server: PostgresServer, size: number) {
  const { registry, counter } = countingStrategy(server.superuserPassword)
  const db = await createEngine(
    {
      conn_type: 'postgres',
      host: server.host,
      port: server.port,
      login: server.superuser,
      schema: 'postgres',
      extra: { auth_method: 'counted', sslmode: 'disable' },
    },
    { registry, pool_size: size, max_overflow: 0 },
  )
  return { db, counter }
}

async function handOutMicros(db: Knex): Promise<number> {
  const { client } = db
  const begin = performance.now()
  for (let count = 0; count < HAND_OUTS; count++) await client.releaseConnection(await client.acquireConnection())
  return ((performance.now() - begin) * 1000) / HAND_OUTS
}

async function statementMicros(db: Knex): Promise<number> {
  const begin = performance.now()
  for (let count = 0; count < STATEMENTS; count++) await db.raw('select 1')
  return ((performance.now() - begin) * 1000) / STATEMENTS
}

/** All at once on a pool that has no connection yet; each holds its connection for one statement. */
async function coldMillis(db: Knex): Promise<number> {
  const begin = performance.now()
  await Promise.all(Array.from({ length: COLD_ACQUIRES }, () => db.raw('select 1')))
  return performance.now() - begin
}

async function handOuts(server: PostgresServer): Promise<Result> {
  const bare = bareKnex(server, 10)
  const { db } = await engine(server, 10)
  try {
    return await compare({
      name: 'acquire + release',
      unit: 'us',
      bound: 1.1,
      rounds: 50,
      ours: () => handOutMicros(db),
      peer: () => handOutMicros(bare),
    })
  } finally {
    await db.destroy()
    await bare.destroy()
  }
}

/**
 * Every round has its own sessions: depending on the core of the server's process, a session can be twice as fast as
 * another for its whole life.
 */
function statements(server: PostgresServer): Promise<Result> {
  const onNewSession = async (db: Knex): Promise<number> => {
    try {
      await statementMicros(db)
      return await statementMicros(db)
    } finally {
      await db.destroy()
    }
  }
  return compare({
    name: 'select 1',
    unit: 'us',
    bound: 1.03,
    rounds: 200,
    ours: async () => onNewSession((await engine(server, 10)).db),
    peer: () => onNewSession(bareKnex(server, 10)),
  })
}

async function cold(server: PostgresServer): Promise<Result[]> {
  let fetches = 0
  const once = async <T extends Knex | Engine>(db: T): Promise<number> => {
    try {
      return await coldMillis(db)
    } finally {
      await db.destroy()
    }
  }
  const speed = await compare({
    name: `${COLD_ACQUIRES} concurrent acquires on a cold pool of ${COLD_SIZE}`,
    unit: 'ms',
    bound: 1.1,
    rounds: 20,
    ours: async () => {
      const { db, counter } = await engine(server, COLD_SIZE)
      const millis = await once(db)
      fetches = Math.max(fetches, counter.fetches)
      return millis
    },
    peer: () => once(bareKnex(server, COLD_SIZE)),
  })
  return [speed, exactly('token fetches for them', 'fetches', fetches, 1)]
}

export async function run(): Promise<Result[]> {
  await using server = await startPostgres()
  return [await handOuts(server), await statements(server), ...(await cold(server))]
}
