/** The time of a large select through knex, compared with bare knex over pg and with postgres.js. */

import type { Knex } from 'knex'
import postgres from 'postgres'
import { createEngine } from '../src/index.ts'
import { type PostgresServer, startPostgres } from '../test/support/postgres.ts'
import { compare, type Result } from './measure.ts'
import { bareKnex } from './pool.ts'

const ROWS = 50_000
const ROUNDS = 60

const TABLES = {
  /** Numbers, short and longer texts, times and NULLs: a typical select of a service. */
  mixed: `select g as id, g % 7 as kind, g * 1.5 as amount, g % 2 = 0 as is_even, 'AA' || g % 90 as code,
    'a somewhat longer text ' || g as note, now() as at, nullif(g % 3, 0) as maybe from generate_series(1, ${ROWS}) g`,
  dated: `select g as id, 'a text ' || g as note, now() + g * interval '1.234567 s' as at
    from generate_series(1, ${ROWS}) g`,
} as const

type Table = keyof typeof TABLES

async function timed(select: () => Promise<unknown>): Promise<number> {
  const begin = performance.now()
  await select()
  return performance.now() - begin
}

async function suite(server: PostgresServer): Promise<Result[]> {
  for (const [name, select] of Object.entries(TABLES)) await server.sql(`create table ${name} as ${select}`)
  const { host, port, superuser: user, superuserPassword: password } = server
  const bare = bareKnex(server, 1)
  const db = await createEngine(
    { conn_type: 'postgres', host, port, login: user, password, schema: 'postgres', extra: { sslmode: 'disable' } },
    { pool_size: 1, max_overflow: 0 },
  )
  const other = postgres({ host, port, user, password, database: 'postgres', max: 1 })
  const through = (knex: Knex, table: Table) => () => timed(() => knex(table))
  const common = { unit: 'ms', rounds: ROUNDS }
  try {
    return [
      await compare({
        ...common,
        name: `a select of ${ROWS} rows of 8 columns, against bare knex`,
        bound: 1.03,
        ours: through(db, 'mixed'),
        peer: through(bare, 'mixed'),
      }),
      await compare({
        ...common,
        name: 'the same of int, text and timestamptz',
        bound: 0.5,
        ours: through(db, 'dated'),
        peer: through(bare, 'dated'),
      }),
      await compare({
        ...common,
        name: 'the same, against postgres.js',
        bound: 1,
        ours: through(db, 'dated'),
        peer: () => timed(() => other`select * from dated`),
      }),
    ]
  } finally {
    await Promise.all([db.destroy(), bare.destroy(), other.end()])
  }
}

export async function run(): Promise<Result[]> {
  await using server = await startPostgres()
  return await suite(server)
}
