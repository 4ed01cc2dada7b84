import assert from 'node:assert/strict'
import { test } from 'node:test'
import pg from 'pg'
import { guardedTypes, isBytea } from '../../../../src/drivers/postgres/bytea.ts'

const { builtins } = pg.types
const BYTEA_ARRAY = 1001 as typeof builtins.BYTEA

function guarded(): pg.Client {
  return new pg.Client({ user: 'x', ssl: false, types: guardedTypes(pg.types, () => new Error('malformed')) })
}

test('well-formed values of bytea are read as pg reads them', () => {
  const client = guarded()
  for (const value of ['\\x00ff', '\\x', '', 'plain', 'a\\\\b', '\\000\\377', '\\\\\\001', 'é'.normalize()]) {
    const read = client.getTypeParser(builtins.BYTEA, 'text')
    assert.deepEqual(read(value), pg.types.getTypeParser(builtins.BYTEA, 'text')(value), value)
  }
  const array = '{"\\\\x00ff",NULL,{"a\\\\\\\\b"}}'
  assert.deepEqual(client.getTypeParser(BYTEA_ARRAY, 'text')(array), pg.types.getTypeParser(BYTEA_ARRAY, 'text')(array))
})

test('a single backslash is an error', () => {
  for (const value of ['\\', 'a\\', '\\8', '\\12', '\\xx'.slice(0, 1), '\\400'.replace('4', '9'), '\\\\\\']) {
    assert.equal(isBytea(value), false, value)
    assert.throws(() => guarded().getTypeParser(builtins.BYTEA, 'text')(value), /malformed/)
  }
  assert.throws(() => guarded().getTypeParser(BYTEA_ARRAY, 'text')('{"\\\\"}'), /malformed/)
})

test('a parser that the user sets for bytea is used', (t) => {
  const before = pg.types.getTypeParser(builtins.BYTEA, 'text')
  t.after(() => pg.types.setTypeParser(builtins.BYTEA, before))
  const client = guarded()
  pg.types.setTypeParser(builtins.BYTEA, (value) => `own ${value}`)
  assert.equal(client.getTypeParser(builtins.BYTEA, 'text')('\\x00'), 'own \\x00')
})
