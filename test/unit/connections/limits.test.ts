import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  LONGEST_KEY,
  LONGEST_RECORD,
  LONGEST_SECRET,
  LONGEST_TEXT,
  MOST_PARTS,
  MOST_VALUES,
} from '../../../src/connections/limits.ts'
import { type ConnectionInput, parseConnection } from '../../../src/connections/parse.ts'
import { configure } from '../../../src/engine/configure.ts'
import { ConfigError } from '../../../src/errors.ts'
import { strategies } from '../../../src/strategies/index.ts'

async function problemsOf(input: ConnectionInput, overrides: Record<string, unknown> = {}): Promise<string[]> {
  try {
    await configure(parseConnection(input), { registry: strategies, overrides, environment: {} })
    return []
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error))
    assert.ok(error.message.length < 5000, 'a message stays short')
    return error.problems.map(({ path, message }) => `${path}: ${message}`)
  }
}

const x = (length: number): string => 'x'.repeat(length)
const withExtra = (extra: Record<string, unknown>): ConnectionInput => ({ type: 'postgres', extra })

test('a record, as a URI, as JSON and as an object, has an upper bound', async () => {
  const tooLong = [`: it is longer than ${LONGEST_RECORD} characters`]
  assert.deepEqual(await problemsOf(`postgres://${x(LONGEST_RECORD)}`), tooLong)
  assert.deepEqual(await problemsOf(`{"type": "postgres", "description": "${x(LONGEST_RECORD)}"}`), tooLong)
  const parts = Object.fromEntries(Array.from({ length: MOST_PARTS }, (_, index) => [`k${index}`, 1]))
  assert.match((await problemsOf({ type: 'postgres', ...parts } as ConnectionInput)).join(), /more than 100 parts/)
  const text = JSON.stringify({ a: x(LONGEST_RECORD) })
  assert.match((await problemsOf({ type: 'postgres', extra: text })).join(), /^extra: is longer than/)
})

test('the extras have an upper bound, however they are nested', async () => {
  const flat = Object.fromEntries(Array.from({ length: MOST_VALUES + 1 }, (_, index) => [`k${index}`, 1]))
  for (const extra of [flat, { list: Array(MOST_VALUES + 1).fill(1) }, { a: { b: flat } }]) {
    assert.deepEqual(await problemsOf(withExtra(extra)), [`extra: holds more than ${MOST_VALUES} values`])
  }
  assert.deepEqual(await problemsOf(withExtra({ list: Array(MOST_VALUES - 1).fill(1) })), [])
})

test('each option, secret and name has an upper bound', async () => {
  const long = `is longer than ${LONGEST_TEXT} characters`
  assert.deepEqual(await problemsOf(withExtra({ application_name: x(LONGEST_TEXT + 1) })), [
    `extra.application_name: ${long}`,
  ])
  assert.deepEqual(await problemsOf(withExtra({ require_auth: Array(2000).fill('none,') })), [
    `extra: holds more than ${MOST_VALUES} values`,
  ])
  assert.deepEqual(await problemsOf({ type: 'postgres', login: x(LONGEST_TEXT + 1) }), [`login: ${long}`])
  assert.deepEqual(await problemsOf({ type: 'postgres', password: x(LONGEST_SECRET + 1) }), [
    `password: is longer than ${LONGEST_SECRET} characters`,
  ])
  assert.deepEqual(await problemsOf(withExtra({ sslpassword: x(LONGEST_SECRET + 1) })), [
    `extra.sslpassword: is longer than ${LONGEST_SECRET} characters`,
  ])
  const key = [`extra["…"]: the key is longer than ${LONGEST_KEY} characters`]
  assert.deepEqual(await problemsOf(withExtra({ [x(LONGEST_KEY + 1)]: 1 })), key)
  assert.deepEqual(await problemsOf({ type: 'postgres' }, { [x(LONGEST_KEY + 1)]: 1 }), key)
  assert.deepEqual(await problemsOf({ type: 'postgres' }, { application_name: x(LONGEST_TEXT + 1) }), [
    `extra.application_name: ${long}`,
  ])
})
