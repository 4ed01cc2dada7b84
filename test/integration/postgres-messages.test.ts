/** The messages of real servers conform to the rules, for every kind of statement. */

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type pg from 'pg'
import { from as copyFrom, to as copyTo } from 'pg-copy-streams'
import QueryStream from 'pg-query-stream'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { driverFor, openSession, passwordCredential } from '../support/postgres-driver.ts'

let servers: readonly PostgresServer[] = []

before(async () => {
  servers = await Promise.all([startPostgres(), startPostgres({ flavor: 'debian' })])
})
after(async () => {
  for (const server of servers) await server[Symbol.asyncDispose]()
})

async function onEach(run: (client: pg.Client) => Promise<void>): Promise<void> {
  for (const server of servers) {
    const target = { host: '127.0.0.1', port: server.port, login: server.superuser, database: 'postgres' }
    const { driver } = driverFor(target, { sslmode: 'disable' })
    await using session = await openSession(driver, passwordCredential(server.superuserPassword))
    await run(session.client)
    assert.equal(driver.isBroken(session.client), false)
  }
}

test('values arrive in binary form where they are requested', async () => {
  await onEach(async (client) => {
    const { rows } = await client.query({ text: 'select $1::int4 as n', values: [7], binary: true } as pg.QueryConfig)
    assert.deepEqual(rows, [{ n: 7 }])
  })
})

test('the rows of a statement arrive in parts where they are requested', async () => {
  await onEach(async (client) => {
    const config = { text: 'select n from generate_series(1, $1) n', values: [25], rows: 10 } as pg.QueryConfig
    const { rows } = await client.query(config)
    assert.equal(rows.length, 25)
    const streamed = await client
      .query(new QueryStream('select n from generate_series(1, 1000) n', [], { batchSize: 7 }))
      .toArray()
    assert.equal(streamed.length, 1000)
  })
})

test('wide rows, many columns, several results, empty statements and notices are accepted', async () => {
  await onEach(async (client) => {
    const { rows } = await client.query("select repeat('x', 5000000) as wide, repeat('é', 70000) as letters")
    assert.deepEqual([rows[0].wide.length, rows[0].letters.length], [5_000_000, 70_000])
    const columns = Array.from({ length: 1600 }, (_, index) => `${index} as c${index}`).join(', ')
    assert.equal((await client.query(`select ${columns}`)).fields.length, 1600)
    const several = (await client.query(
      'select 1; select 2, 3; ; create temporary table t (n int); select 4',
    )) as unknown
    assert.equal((several as unknown[]).length, 4)
    await client.query('')
    await client.query("do $$ begin for n in 1..20000 loop raise notice 'n %', n; end loop; end $$")
    await client.query("listen news; notify news, 'hello'")
    await assert.rejects(client.query("do $$ begin raise exception '%', repeat('x', 3000000); end $$"), {
      code: 'P0001',
    })
    for (const setting of ['a', 'b']) await client.query(`set application_name = '${setting}'`)
  })
})

test('copies in both directions are accepted', async () => {
  await onEach(async (client) => {
    await client.query('create temporary table copied (n int, t text)')
    const into = client.query(copyFrom('copy copied from stdin'))
    for (let n = 0; n < 10_000; n++) into.write(`${n}\t${'y'.repeat(n % 100)}\n`)
    into.end()
    await new Promise((resolve, reject) => into.on('finish', () => resolve(undefined)).on('error', reject))
    const chunks = await client.query(copyTo('copy copied to stdout')).toArray()
    assert.equal(Buffer.concat(chunks).toString().split('\n').length, 10_001)
    await assert.rejects(client.query('copy copied from stdin'), { code: '57014' })
  })
})

test('values of bytea arrive in both forms', async () => {
  await onEach(async (client) => {
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
    for (const form of ['hex', 'escape']) {
      await client.query(`set bytea_output = '${form}'`)
      const { rows } = await client.query('select $1::bytea as one, array[$1::bytea, null] as many', [bytes])
      assert.deepEqual(rows, [{ one: bytes, many: [bytes, null] }])
    }
  })
})
