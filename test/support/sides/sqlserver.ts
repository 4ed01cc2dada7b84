import type { Connection } from 'tedious'
import { startGate } from '../gate.ts'
import { createPki } from '../pki.ts'
import { startPostgres } from '../postgres.ts'
import { runStock } from '../tds/clients.ts'
import { startTdsServer } from '../tds/server.ts'
import { sleepsSomewhere } from './postgres.ts'
import type { SideKind, Trace } from './side.ts'

const traces: readonly Trace[] = [
  {
    what: 'an open transaction',
    leave: 'begin transaction; insert into marks (n) values (1)',
    look: 'select @@trancount as n',
    clean: 0,
    left: 1,
    goneIn: ['rollback', 'full'],
  },
  {
    what: 'what a transaction wrote',
    leave: 'begin transaction; insert into marks (n) values (1)',
    look: 'select cast(count(*) as int) as n from marks',
    clean: 0,
    left: 1,
    goneIn: ['rollback', 'full'],
  },
  {
    what: 'a setting',
    leave: 'set lock_timeout 1234',
    look: 'select @@lock_timeout as n',
    clean: -1,
    left: 1234,
    goneIn: ['full'],
  },
  {
    what: 'a temporary table',
    leave: 'create table #scratch (x int); insert into #scratch values (1)',
    look: "select case when object_id('tempdb..#scratch') is null then 0 else 1 end as n",
    clean: 0,
    left: 1,
    goneIn: ['full'],
  },
]

/** The TDS server test double, behind a gate. */
export const sqlServerSide: SideKind = {
  name: 'SQL Server',
  traces,
  setUp: 'create table marks (n int)',
  slow: "waitfor delay '00:01:00'",
  numbers: (count) => `select n from generate_series(1, ${count}) as s(n)`,
  rowsOf: (result) => result as Record<string, unknown>[],
  firstWait: 'tls',
  async start() {
    await using stack = new AsyncDisposableStack()
    const postgres = stack.use(await startPostgres())
    const certificate = await (await createPki()).issue({ commonName: 'localhost', dns: ['localhost'] })
    const server = stack.use(await startTdsServer({ postgres, logins: { sa: 'pw' }, tls: certificate }))
    const gate = stack.use(await startGate(server.port))
    const owned = stack.move()
    return {
      connection: {
        type: 'mssql',
        host: 'localhost',
        port: gate.port,
        login: 'sa',
        password: 'pw',
        database: 'master',
        extra: { trust_server_certificate: true },
      },
      run: async (raw, sql) => {
        const { rows } = await runStock(raw as Connection, sql, { batch: true })
        return Object.values(rows[0] ?? {})[0]
      },
      runsSlow: () => sleepsSomewhere(postgres),
      kill: async (processId) =>
        server
          .sessions()
          .find(({ spid }) => spid === processId)
          ?.kill(),
      stop: () => gate.shut(),
      start: () => gate.open(),
      freeze: () => gate.freeze(),
      thaw: () => gate.thaw(),
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    }
  },
}
