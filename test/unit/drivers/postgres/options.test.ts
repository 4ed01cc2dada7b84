import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseFields } from '../../../../src/connections/fields.ts'
import { createPostgresDriver } from '../../../../src/drivers/postgres/driver.ts'
import { checkPostgresOptions } from '../../../../src/drivers/postgres/option-checks.ts'
import { effectiveSslMode, type PostgresOptions, postgresFields } from '../../../../src/drivers/postgres/options.ts'

function parsed(extra: Record<string, unknown>): PostgresOptions {
  const { values, problems } = parseFields(postgresFields, extra)
  assert.deepEqual(problems, [])
  return values
}

const paths = (extra: Record<string, unknown>, target = {}): string[] =>
  checkPostgresOptions(target, parsed(extra)).map((problem) => problem.path)

test('the default of sslmode is prefer, and verify-full with sslrootcert=system', () => {
  assert.equal(effectiveSslMode(parsed({})), 'prefer')
  assert.equal(effectiveSslMode(parsed({ sslrootcert: 'system' })), 'verify-full')
  assert.equal(effectiveSslMode(parsed({ sslmode: 'require' })), 'require')
})

test('a mode that is too weak for another option is refused', () => {
  for (const sslmode of ['disable', 'allow', 'prefer', 'require', 'verify-ca']) {
    assert.deepEqual(paths({ sslmode, sslrootcert: 'system' }), ['extra.sslmode'], sslmode)
  }
  assert.deepEqual(paths({ sslmode: 'verify-full', sslrootcert: 'system' }), [])
  assert.deepEqual(paths({ sslnegotiation: 'direct' }), ['extra.sslmode'])
  assert.deepEqual(paths({ sslnegotiation: 'direct', sslmode: 'require' }), [])
})

test('a protection that is impossible is refused', () => {
  const folder = { host: '/run/postgresql' }
  assert.deepEqual(paths({ sslcertmode: 'require', sslmode: 'disable' }), ['extra.sslcertmode'])
  assert.deepEqual(paths({ sslcertmode: 'require' }, folder), ['extra.sslcertmode'])
  assert.deepEqual(paths({ sslcertmode: 'require' }), [])
  assert.deepEqual(paths({ requirepeer: 'postgres' }), ['extra.requirepeer'])
  assert.deepEqual(paths({ requirepeer: 'postgres' }, { host: 'db' }), ['extra.requirepeer'])
  assert.deepEqual(
    paths({ requirepeer: 'postgres' }, folder),
    process.platform === 'win32' ? ['extra.requirepeer'] : [],
  )
  assert.deepEqual(paths({ min_protocol_version: '3.2', max_protocol_version: '3.0' }), ['extra.max_protocol_version'])
})

test('versions are read in the spellings of libpq, JSON and YAML', () => {
  assert.equal(parsed({ ssl_min_protocol_version: 'tlsv1.3' }).ssl_min_protocol_version, 'TLSv1.3')
  assert.equal(parsed({ max_protocol_version: 3.2 }).max_protocol_version, '3.2')
  assert.equal(parsed({ max_protocol_version: 3 }).max_protocol_version, '3.0')
})

test('a connect_timeout that is too long for a timer is refused, since it would expire at once', () => {
  const { problems } = parseFields(postgresFields, { connect_timeout: 2_147_484 })
  assert.deepEqual(
    problems.map(({ path }) => path),
    ['extra.connect_timeout'],
  )
})

test('all problems are reported together', () => {
  const found = paths(
    {
      ssl_max_protocol_version: 'TLSv1.1',
      require_auth: 'scram',
      sslkey: '/k',
    },
    { login: 'a\0user\0b', database: 'd\0' },
  )
  assert.deepEqual(found.sort(), [
    'database',
    'extra.require_auth',
    'extra.ssl_max_protocol_version',
    'extra.sslkey',
    'login',
  ])
})

test('a driver is not created from contradictory options', () => {
  assert.throws(
    () => createPostgresDriver({}, parsed({ sslrootcert: 'system', sslmode: 'require' }), { emit: () => undefined }),
    { code: 'CONFIG_INVALID' },
  )
})

test('every field is described for the documentation', () => {
  for (const [name, field] of Object.entries(postgresFields)) assert.match(field.description, /\.$/, name)
})
