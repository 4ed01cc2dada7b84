import type pg from 'pg'
import { type PostgresServer, startPostgres } from '../postgres.ts'
import type { SideKind, Trace } from './side.ts'

const traces: readonly Trace[] = [
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
    goneIn: ['rollback', 'full'],
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

/** Whether a session of the server sleeps for a minute. */
export async function sleepsSomewhere(server: PostgresServer): Promise<boolean> {
  const asleep = "state = 'active' and wait_event = 'PgSleep' and query like '%pg_sleep(60)%'"
  return (await server.sql(`select count(*) from pg_stat_activity where ${asleep}`)) !== '0'
}

/** A real PostgreSQL. */
export const postgresSide: SideKind = {
  name: 'PostgreSQL',
  traces,
  setUp: 'create table marks (n int)',
  slow: 'select pg_sleep(60)',
  numbers: (count) => `select n from generate_series(1, ${count}) n`,
  rowsOf: (result) => (result as pg.QueryResult).rows,
  firstWait: 'login',
  async start() {
    const server = await startPostgres()
    return {
      connection: {
        type: 'postgres',
        host: server.host,
        port: server.port,
        login: server.superuser,
        password: server.superuserPassword,
        database: 'postgres',
        extra: { sslmode: 'disable' },
      },
      run: async (raw, sql) => {
        // Several statements return several results.
        const results = [
          await (raw as pg.Client).query({ text: sql, rowMode: 'array' }),
        ].flat() as pg.QueryArrayResult[]
        return results.at(-1)?.rows[0]?.[0]
      },
      runsSlow: () => sleepsSomewhere(server),
      kill: async (processId) => {
        await server.sql(`select pg_terminate_backend(${processId})`)
      },
      stop: () => server.stop('immediate'),
      start: () => server.start(),
      freeze: () => server.freeze(),
      thaw: () => server.thaw(),
      [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    }
  },
}
