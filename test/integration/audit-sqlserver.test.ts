/** The audit log over SQL Server (the TDS double): each kind of line, from every data layer. */

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { test } from 'node:test'
import { Kysely, sql } from 'kysely'
import { type AuditEvent, queryHash, withAuditContext } from '../../src/audit/index.ts'
import { sqlServerDialect } from '../../src/engine/kysely/index.ts'
import { createEngine, createMssqlPool } from '../../src/index.ts'
import { core, linesOf } from '../support/audit.ts'
import { temporaryFolder } from '../support/folder.ts'
import { createPki } from '../support/pki.ts'
import { startPostgres } from '../support/postgres.ts'
import { startTdsServer } from '../support/tds/server.ts'

const ONE = { pool_size: 1, max_overflow: 0, pool_name: 'sales', pool_reset_on_return: 'full' as const }
const hash = (text: string): string => queryHash(text, 'microsoft.sql_server')

interface MssqlRequest {
  query(text: string): Promise<unknown>
}
const { Request } = createRequire(import.meta.url)('mssql') as { readonly Request: new (pool: object) => MssqlRequest }

async function start() {
  await using stack = new AsyncDisposableStack()
  const postgres = stack.use(await startPostgres())
  const tls = await (await createPki()).issue({ commonName: 'localhost', dns: ['localhost'] })
  const server = stack.use(await startTdsServer({ postgres, logins: { sa: 'pw' }, tls }))
  await postgres.sql('create table flights (id int, carrier text); insert into flights values (1), (2)')
  await postgres.sql(
    "create function refuse() returns int language plpgsql as 'begin raise insufficient_privilege; end'",
  )
  await postgres.sql('create view secret_rows as select refuse() as x')
  const owned = stack.move()
  const record = {
    type: 'mssql' as const,
    host: 'localhost',
    port: server.port,
    login: 'sa',
    password: 'pw',
    database: 'master',
    extra: { trust_server_certificate: true },
  }
  const common = {
    pool: 'sales',
    system: 'microsoft.sql_server',
    host: 'localhost',
    database: 'master',
    method: 'sql_auth',
    identity: 'sa',
    credential: 'password',
    user: 'sa',
    authentication: 'sql',
    encryption: 'tls',
    server: `127.0.0.1:${server.port}`,
  }
  return { record, common, [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose]() }
}

test('logins, statements, transactions, refusals and failures each have their line', async () => {
  await using side = await start()
  await using folder = await temporaryFolder()
  const file = join(folder.path, 'audit.jsonl')
  const db = await createEngine(side.record, { ...ONE, audit: { file } })
  await withAuditContext({ endUser: 'ann' }, async () => db('flights').select('id'))
  await db.transaction(async (transaction) => {
    await transaction('flights').where({ id: 2 }).update({ id: 3 })
  })
  await assert.rejects(async () => db.raw('select x from secret_rows'), { number: 229 })
  await assert.rejects(async () => db.raw('select wrong from dbo.flights'))
  await db.destroy()
  const access = { event: 'data_access', outcome: 'success' }
  const lines = (await linesOf(file)).map((line) => core(line, side.common))
  const [wrong] = lines.splice(-2, 1)
  assert.deepEqual([wrong?.['outcome'], wrong?.['tables']], ['failure', ['dbo.flights']])
  assert.deepEqual(lines, [
    { event: 'log', action: 'opened' },
    { event: 'authentication', outcome: 'success' },
    {
      ...access,
      rows: 2,
      operation: 'select',
      tables: ['flights'],
      query_hash: hash('select [id] from [flights]'),
      end_user: 'ann',
    },
    { ...access, operation: 'begin', tables: [] },
    {
      ...access,
      rows: 1,
      operation: 'update',
      tables: ['flights'],
      query_hash: hash('update [flights] set [id] = @p0 where [id] = @p1'),
    },
    { ...access, operation: 'commit', tables: [] },
    {
      event: 'authorization',
      outcome: 'denied',
      code: '229',
      operation: 'select',
      tables: ['secret_rows'],
      query_hash: hash('select x from secret_rows'),
    },
    { event: 'log', action: 'closed' },
  ])
})

test('every layer tells its statements, and under required a statement whose rows stream has a line before it is sent', async () => {
  await using side = await start()
  const events: AuditEvent[] = []
  const audit = {
    mode: 'required' as const,
    query: 'text' as const,
    sink: async (event: AuditEvent) => void events.push(event),
  }
  const options = { ...ONE, audit }
  await using db = await createEngine(side.record, options)
  await db.raw('select 1 as n')
  await pipeline(db.raw('select id as streamed from flights').stream(), async (rows) => {
    for await (const _ of rows);
  })
  const kysely = new Kysely<object>({ dialect: sqlServerDialect(side.record, options) })
  await sql`select 2 as n`.execute(kysely)
  await kysely.destroy()
  const pool = await createMssqlPool(side.record, options)
  await new Request(pool).query('select 3 as n')
  await pool.close()
  const told = events.filter(({ event }) => event === 'data_access')
  const of = (text: string): unknown[] => told.filter(({ query }) => query === text).map(({ outcome }) => outcome)
  assert.deepEqual(of('select ? as n').filter((outcome) => outcome === 'success').length, 3)
  assert.deepEqual(of('select id as streamed from flights'), ['started', 'success'])
})

test('under required, a refused line fails the statement with AUDIT_FAILED, and the session goes on', async () => {
  await using side = await start()
  let isDown = false
  const sink = async (): Promise<void> => {
    if (isDown) throw new Error('the collector is away')
  }
  await using db = await createEngine(side.record, {
    ...ONE,
    audit: { mode: 'required', sink },
    on: { 'audit:failed': () => undefined },
  })
  await db.raw('select 1 as n')
  isDown = true
  await assert.rejects(async () => db.raw('select 2 as n'), {
    code: 'AUDIT_FAILED',
    phase: 'write',
    message: 'select 2 as n - The audit log could not be written to the function: the collector is away.',
    details: { target: 'the function', sent: true },
  })
  isDown = false
  assert.deepEqual(await db.raw('select 3 as n'), [{ n: 3 }])
  assert.equal(db.pool.stats().counts.opened, 1)
})
