import assert from 'node:assert/strict'
import { test } from 'node:test'
import { UsageError } from '../../../src/cli/command.ts'
import { parseColumnNames, parseTableName } from '../../../src/cli/names.ts'

test('a table is named with or without its schema, and quoted where it holds a dot or a quote', () => {
  assert.deepEqual(parseTableName('flights'), { table: 'flights' })
  assert.deepEqual(parseTableName('public.flights'), { schema: 'public', table: 'flights' })
  assert.deepEqual(parseTableName('Public.my flights'), { schema: 'Public', table: 'my flights' })
  assert.deepEqual(parseTableName('"a.b"."c""d"'), { schema: 'a.b', table: 'c"d' })
  assert.deepEqual(parseTableName('"a.b"'), { table: 'a.b' })
})

for (const text of ['', '.', 'a.', '.b', 'a.b.c', '"a', '"a"b', 'a"b', '""']) {
  test(`${JSON.stringify(text)} is no table's name`, () => {
    assert.throws(() => parseTableName(text), UsageError)
  })
}

test('columns are named one after the other, and quoted where they hold a comma or a quote', () => {
  assert.deepEqual(parseColumnNames('columns', 'id'), ['id'])
  assert.deepEqual(parseColumnNames('columns', 'id,My name,"a,b","c""d"'), ['id', 'My name', 'a,b', 'c"d'])
  for (const text of [',', 'a,', ',a', '"a', '"a"b', 'a"b']) {
    assert.throws(() => parseColumnNames('columns', text), /^UsageError: --columns expects A,B/)
  }
})
