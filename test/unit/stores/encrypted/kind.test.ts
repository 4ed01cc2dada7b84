import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { findConnection, listConnections, resolveConnection } from '../../../../src/index.ts'
import { openStores } from '../../../../src/stores/index.ts'
import { poolsmith } from '../../../support/cli-in-process.ts'
import { temporaryFolder } from '../../../support/folder.ts'

const KEY = Buffer.alloc(32, 7).toString('base64')

/** A folder with a connections file that lists an encrypted file, which the command line writes. */
async function startFolder() {
  const folder = await temporaryFolder()
  const environment = { POOLSMITH_SECRETS_KEY: KEY }
  const set = async (name: string, value: string): Promise<void> => {
    const args = ['secrets', 'set', name, '--file', join(folder.path, 'secrets')]
    const { code, log } = await poolsmith(args, environment, value)
    assert.equal(code, 0, log)
  }
  await writeFile(
    join(folder.path, 'connections.yaml'),
    'stores:\n  - { type: encrypted, secrets_file: ./secrets }\n',
    { mode: 0o600 },
  )
  const options = { cwd: folder.path, environment }
  return { path: folder.path, set, options, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() }
}

test('connections of an encrypted file are found by their ids, in each form, and listed', async () => {
  await using folder = await startFolder()
  const { set, options } = folder
  await set('connections/uri', 'postgres://etl:first@uri/sales')
  await set('connections/json', '{"conn_type": "postgres", "host": "json", "extra": {"sslmode": "require"}}')
  await set('connections/field#conn_uri', 'mssql://field')
  await set('connections/parts#conn_type', 'postgres')
  await set('connections/parts#host', 'parts')
  await set('connections/parts#port', '6432')
  await set('connections/parts#extra', '{"sslmode": "require"}')
  await set('connections/red/uri', 'postgres://team')
  const hosts = await Promise.all(
    ['uri', 'json', 'field', 'parts'].map(async (id) => (await findConnection(id, options)).host),
  )
  assert.deepEqual(hosts, ['uri', 'json', 'field', 'parts'])
  const { port, extra } = await findConnection('parts', options)
  assert.deepEqual([port, extra.sslmode], [6432, 'require'])
  assert.equal((await findConnection('uri', { ...options, team: 'red' })).host, 'team')
  assert.equal((await findConnection('json', { ...options, team: 'red' })).host, 'json')
  const listed = await listConnections(options)
  assert.deepEqual(listed.map(({ id }) => id).sort(), ['field', 'json', 'parts', 'red/uri', 'uri'])
  await assert.rejects(findConnection('other', options), { code: 'CONNECTION_NOT_FOUND', message: /encrypted file/ })
  assert.ok(!(await readFile(join(folder.path, 'secrets'), 'utf8')).includes('first'))
})

test('variables and configuration are texts, and a kind is turned off by null', async () => {
  await using folder = await startFolder()
  const { set, options } = folder
  await set('variables/bucket', 'the-bucket')
  await set('config/fernet_key#value', 'the-key')
  await using stores = openStores(options)
  assert.equal((await stores.getVariable('bucket'))?.reveal(), 'the-bucket')
  assert.equal((await stores.getConfig('fernet_key'))?.reveal(), 'the-key')
  assert.equal(await stores.getVariable('other'), undefined)
  await using off = openStores({
    ...options,
    stores: [{ type: 'encrypted', secrets_file: './secrets', variables_prefix: null, config_prefix: 'variables' }],
  })
  assert.equal(await off.getVariable('bucket'), undefined)
  assert.equal((await off.getConfig('bucket'))?.reveal(), 'the-bucket')
})

test('a file that cannot be read ends the search, and settings that are wrong are listed', async () => {
  await using folder = await startFolder()
  const { set, options } = folder
  await set('connections/sales', 'postgres://db')
  const wrong = { ...options, environment: { POOLSMITH_SECRETS_KEY: Buffer.alloc(32, 8).toString('hex') } }
  await assert.rejects(findConnection('sales', wrong), { code: 'ENCRYPTED_KEY_WRONG' })
  await assert.rejects(findConnection('sales', { ...options, environment: {} }), { code: 'ENCRYPTED_KEY_MISSING' })
  const settings = (given: object) => findConnection('sales', { ...options, stores: [{ type: 'encrypted', ...given }] })
  await assert.rejects(settings({ secrets_file: './none' }), {
    code: 'SECRET_FILE_REFUSED',
    message: /none does not exist/,
  })
  await assert.rejects(settings({}), { code: 'CONFIG_INVALID', message: /secrets_file: missing/ })
  await assert.rejects(settings({ secrets_fle: './x.txt' }), { code: 'CONFIG_INVALID', message: /secrets_fle/ })
})

test('a whole connection is read from one secret by its place', async () => {
  await using folder = await startFolder()
  const { set, options } = folder
  await set('prod/sales', 'postgres://etl@db/sales')
  const environment = { ...options.environment, POOLSMITH_SECRETS_FILE: join(folder.path, 'secrets') }
  const { host, login } = await resolveConnection('encrypted:prod/sales', { ...options, environment })
  assert.deepEqual([host, login], ['db', 'etl'])
})
