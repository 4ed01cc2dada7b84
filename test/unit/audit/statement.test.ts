import assert from 'node:assert/strict'
import { test } from 'node:test'
import { queryHash, summaryOf } from '../../../src/audit/statement.ts'

const POSTGRES: readonly (readonly [text: string, operation: string, tables: readonly string[]])[] = [
  ['select * from a, b as x, public."C d" where x = \'from secret\'', 'select', ['a', 'b', 'public.C d']],
  [
    'with q as (select 1 from t), r(a) as (select 2 from q) insert into s.t2(a) select * from r',
    'insert',
    ['t', 's.t2'],
  ],
  ['select extract(year from ts), substring(a from 2) from ev', 'select', ['ev']],
  ['update x set a = 1 from y where a is distinct from b', 'update', ['x', 'y']],
  ['insert into t values (1) on conflict do update set a = 2', 'insert', ['t']],
  ['select * from t for update of t', 'select', ['t']],
  ['begin; delete from only x', 'begin; delete', ['x']],
  ['copy (select * from "public"."flights") to stdout', 'copy', ['public.flights']],
  ['copy flights (a, b) from stdin', 'copy', ['flights']],
  ['select * from generate_series(1, 5) n', 'select', []],
  ['create table if not exists Foo (a int)', 'create', ['foo']],
  ['merge into a using b on true when matched then update set x = 1', 'merge', ['a', 'b']],
  ["-- from x\nselect 'from y' /* from z */", 'select', []],
  ['', 'none', []],
]
const SQL_SERVER: typeof POSTGRES = [
  ['select top 1 * from [dbo].[My Table] with (nolock)', 'select', ['dbo.My Table']],
  ['insert dbo.x values (1)', 'insert', ['dbo.x']],
  ['delete dbo.x where a = 1', 'delete', ['dbo.x']],
  ['insert bulk [t] ([n] int)', 'insert', ['t']],
]

test('the operation and the tables of a statement are those in its text', () => {
  for (const [text, operation, tables] of POSTGRES)
    assert.deepEqual(summaryOf(text, 'postgresql'), { operation, tables }, text)
  for (const [text, operation, tables] of SQL_SERVER)
    assert.deepEqual(summaryOf(text, 'microsoft.sql_server'), { operation, tables }, text)
})

test('a long or damaged text is summed up in bounded time', () => {
  for (const text of ['('.repeat(1e6), 'with a as '.repeat(1e5), 'from "'.repeat(1e5), 'from a,'.repeat(1e5), '[[['])
    for (const system of ['postgresql', 'microsoft.sql_server'] as const) {
      const { operation, tables } = summaryOf(text, system)
      assert.ok(operation.length < 1000 && tables.length <= 20)
    }
})

test('statements that differ in values only have the same hash', () => {
  const hash = queryHash("select * from t where a = 'x' and b = 7", 'postgresql')
  assert.match(hash, /^[\da-f]{64}$/)
  assert.equal(queryHash("select * from t where a = 'y''z' and b = 12.5", 'postgresql'), hash)
  assert.notEqual(queryHash("select * from u where a = 'x' and b = 7", 'postgresql'), hash)
})
