import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { PoolOptions } from '../../src/pool/options.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { ask, postgresPool } from '../support/postgres-pool.ts'

type Mode = NonNullable<PoolOptions['pool_reset_on_return']>

/** Something that a session can leave behind, and how its next user would notice. */
const traces: readonly {
  readonly what: string
  readonly leave: string
  readonly look: string
  readonly clean: unknown
  readonly left: unknown
  /** The modes under which it is gone. */
  readonly goneIn: readonly Mode[]
}[] = [
  {
    what: 'an open transaction',
    leave: 'begin; insert into marks values (1)',
    look: 'select count(*)::int from marks',
    clean: 0,
    left: 1,
    goneIn: ['rollback', 'full'],
  },
  {
    what: 'a failed transaction',
    leave:
      "begin; do 'begin perform 1/0; exception when division_by_zero then null; end'; savepoint a; set local statement_timeout = 1234",
    look: "select current_setting('statement_timeout')",
    clean: '0',
    left: '1234ms',
    goneIn: ['rollback', 'full'],
  },
  {
    what: 'a setting',
    leave: "set search_path = 'elsewhere'",
    look: "select current_setting('search_path')",
    clean: '"$user", public',
    left: 'elsewhere',
    goneIn: ['full'],
  },
  {
    what: 'a temporary table',
    leave: 'create temporary table scratch as select 1 as x',
    look: "select count(*)::int from pg_class where relname = 'scratch' and pg_table_is_visible(oid)",
    clean: 0,
    left: 1,
    goneIn: ['full'],
  },
  {
    what: 'an advisory lock',
    leave: 'select pg_advisory_lock(7)',
    look: "select count(*)::int from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()",
    clean: 0,
    left: 1,
    goneIn: ['full'],
  },
  {
    what: 'a LISTEN',
    leave: 'listen news',
    look: 'select count(*)::int from pg_listening_channels()',
    clean: 0,
    left: 1,
    goneIn: ['full'],
  },
  {
    what: 'a prepared statement',
    leave: 'prepare plan as select 1',
    look: 'select count(*)::int from pg_prepared_statements',
    clean: 0,
    left: 1,
    goneIn: ['full'],
  },
  {
    what: 'a role',
    leave: 'set role pg_monitor',
    look: 'select current_user',
    clean: 'postgres',
    left: 'pg_monitor',
    goneIn: ['full'],
  },
]

describe('what a returned connection hands on', () => {
  let server: PostgresServer
  before(async () => {
    server = await startPostgres()
    await server.sql('create table marks (n int)')
  })
  after(() => server[Symbol.asyncDispose]())

  for (const mode of ['rollback', 'full', 'none'] as const) {
    for (const { what, leave, look, clean, left, goneIn } of traces) {
      const gone = goneIn.includes(mode)
      test(`${mode}: ${what} is ${gone ? 'gone' : 'still there'}`, async () => {
        await using pool = postgresPool(server, { pool_size: 1, max_overflow: 0, pool_reset_on_return: mode })
        await pool.use((client) => client.query(leave))
        assert.equal(await ask(pool, look), gone ? clean : left)
        assert.equal(pool.stats().counts.opened, 1, 'by the same session')
      })
    }
  }

  test('a statement that still runs on return is stopped before the next user comes', async () => {
    await using pool = postgresPool(server, { pool_size: 1, max_overflow: 0 })
    const raw = await pool.acquire().promise
    const stopped = assert.rejects(raw.query('select pg_sleep(60)'))
    pool.release(raw)
    assert.equal(await ask(pool, 'select 1'), 1)
    await stopped
  })
})
