/** Roles that see some rows or some columns of a table only. */

import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import type { ExtractSource } from '../../src/extract/read/table.ts'
import { createEngine, type Engine } from '../../src/index.ts'
import { extracting, failureOf, superuserEngine } from '../support/extract.ts'
import { startPostgres } from '../support/postgres.ts'

const server = await startPostgres()
const db = await superuserEngine(server)
after(async () => {
  await db.destroy()
  await server[Symbol.asyncDispose]()
})

/** An engine of a role with a password; the settings are those of the role. */
async function engineOf(role: string, settings: readonly string[] = []): Promise<Engine> {
  await server.sql(`create role ${role} login password 'secret'; grant usage on schema public to ${role}`)
  for (const setting of settings) await server.sql(`alter role ${role} set ${setting}`)
  const { host, port } = server
  return createEngine({ type: 'postgres', host, port, login: role, password: 'secret', database: 'postgres' })
}

describe('row-level security', () => {
  test('it is noted for a table, a view and a query, and not where it does not apply', async () => {
    const reader = await engineOf('policed')
    try {
      await server.sql(`create table secrets (id int, owner text); insert into secrets values (1, 'policed'), (2, 'x');
        alter table secrets enable row level security;
        create policy own on secrets using (owner = current_user); create table plain (id int); insert into plain values (1);
        create role keeper; grant select on secrets to keeper;
        create view through as select * from secrets; create view twice as select * from through;
        create view kept as select * from secrets; alter view kept owner to keeper;
        create view harmless as select * from plain;
        create materialized view frozen as select * from secrets;
        grant select on all tables in schema public to policed`)
      const notesOf = async (source: ExtractSource, engine = reader): Promise<string> =>
        (await extracting(engine, source)).manifest.notes.join()
      assert.match(await notesOf({ table: 'secrets' }), /^Row-level security is on: these are the rows/)
      const noted = /^Row-level security is on in "public"\."secrets", which this reads/
      const query = { query: 'select s.id from secrets s join plain p on p.id = s.id', name: 'joined' }
      assert.match(await notesOf(query), noted)
      assert.match(await notesOf({ query: 'select id from kept', name: 'nested' }), noted)
      // Behind a view the policies of its owner count.
      assert.match(await notesOf({ table: 'kept' }, db), noted)
      for (const table of ['through', 'twice']) assert.match(await notesOf({ table }), noted)
      for (const table of ['harmless', 'frozen', 'plain']) assert.equal(await notesOf({ table }), '')
      for (const table of ['secrets', 'through', 'twice']) assert.equal(await notesOf({ table }, db), '')
      assert.equal(await notesOf(query, db), '')
    } finally {
      await reader.destroy()
    }
  })

  test('under row_security = off the error says so', async () => {
    await server.sql(`create table hidden (id int); alter table hidden enable row level security`)
    const reader = await engineOf('unpoliced', ['row_security = off'])
    try {
      await server.sql('grant select on hidden to unpoliced')
      for (const source of [{ table: 'hidden' }, { query: 'select id from hidden', name: 'q' }]) {
        const error = await failureOf(extracting(reader, source))
        assert.deepEqual([error.code, error.transient], ['PERMISSION_DENIED', false])
        assert.match(error.hint ?? '', /^row_security is off in this session.*BYPASSRLS/)
      }
    } finally {
      await reader.destroy()
    }
  })
})

describe('a role that may read some columns only', () => {
  test('it has partitions by a key or a column that it may read', async () => {
    await server.sql(`create table partly (id int primary key, n int, secret text);
      insert into partly select g, g % 100, 'x' from generate_series(1, 1000) g;
      create table keyless (id int, secret text); insert into keyless select g, 'x' from generate_series(1, 1000) g`)
    const reader = await engineOf('partial')
    try {
      await server.sql('grant select (id, n) on partly to partial; grant select (id) on keyless to partial')
      const columns = ['id']
      const all = Array.from({ length: 1000 }, (_, index) => String(index + 1)).sort()
      const byKey = await extracting(reader, { table: 'partly' }, { columns, partitions: 4 })
      assert.deepEqual([byKey.manifest.files.length, byKey.ids], [4, all])
      const byColumn = await extracting(reader, { table: 'partly' }, { columns, partitions: 3, partitionBy: 'n' })
      assert.deepEqual([byColumn.manifest.files.length, byColumn.ids], [3, all])
      const whole = await extracting(reader, { table: 'keyless' }, { columns, partitions: 4 })
      assert.deepEqual([whole.manifest.files.length, whole.ids], [1, all])
      assert.match(whole.manifest.notes.join(), /One part:.*partitionBy/)
      await server.sql('revoke select (id) on partly from partial')
      const other = await failureOf(extracting(reader, { table: 'partly' }, { columns, partitions: 4 }))
      assert.equal(other.code, 'PERMISSION_DENIED')
    } finally {
      await reader.destroy()
    }
  })

  test('it has a watermark, and rows are told apart by the columns that it may read', async () => {
    await server.sql(`create table marked (key int primary key, id int, mark int, secret text);
      insert into marked values (1, 1, 7, 'x'), (2, 2, 7, 'y')`)
    const reader = await engineOf('marking')
    try {
      await server.sql('grant select (id, mark) on marked to marking')
      const options = { columns: ['id', 'mark'] }
      const first = await extracting(reader, { table: 'marked' }, { ...options, watermark: { column: 'mark' } })
      assert.deepEqual(
        [first.ids, first.manifest.watermark?.identity],
        [
          ['1', '2'],
          ['id', 'mark'],
        ],
      )
      await server.sql("insert into marked values (3, 3, 7, 'z')")
      const watermark = { column: 'mark', after: first.manifest.watermark }
      assert.deepEqual((await extracting(reader, { table: 'marked' }, { ...options, watermark })).ids, ['3'])
    } finally {
      await reader.destroy()
    }
  })
})
