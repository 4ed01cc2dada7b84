import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseFields } from '../../../../src/connections/fields.ts'
import { checkSqlServerOptions } from '../../../../src/drivers/sqlserver/option-checks.ts'
import { sqlServerFields } from '../../../../src/drivers/sqlserver/options.ts'

const problemsOf = (extra: object, host = 'db'): readonly string[] =>
  checkSqlServerOptions({ host }, parseFields(sqlServerFields, { ...extra }).values).map(({ path }) => path)

test('options that contradict each other, or what a server takes, are told', () => {
  assert.deepEqual(problemsOf({}), [])
  assert.deepEqual(problemsOf({}, '/var/run'), ['host'])
  assert.deepEqual(problemsOf({ encrypt: 'strict', trust_server_certificate: true }), [
    'extra.trust_server_certificate',
  ])
  for (const encrypt of ['true', 'false']) {
    for (const name of ['server_certificate', 'ca_file', 'host_name_in_certificate']) {
      assert.deepEqual(problemsOf({ encrypt, trust_server_certificate: true, [name]: '/a.pem' }), [`extra.${name}`])
      assert.deepEqual(problemsOf({ encrypt, [name]: '/a.pem' }), [])
    }
  }
  assert.deepEqual(problemsOf({ application_name: 'x'.repeat(128) }), [])
  assert.deepEqual(problemsOf({ application_name: 'x'.repeat(129), workstation_id: 'x'.repeat(129) }), [
    'extra.application_name',
    'extra.workstation_id',
  ])
  assert.deepEqual(problemsOf({ packet_size: 16_383 }), [])
  for (const encrypt of ['true', 'strict']) {
    assert.deepEqual(problemsOf({ encrypt, packet_size: 16_384 }), ['extra.packet_size'])
  }
  assert.deepEqual(problemsOf({ encrypt: 'false', packet_size: 32_767 }), [])
})

test('a connect_timeout that no timer can measure is refused: it would be over at once', () => {
  const { problems } = parseFields(sqlServerFields, { connect_timeout: 2_147_484 })
  assert.deepEqual(
    problems.map(({ path }) => path),
    ['extra.connect_timeout'],
  )
})
