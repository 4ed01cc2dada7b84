/** Connections in the secrets backend of an Airflow worker, and in the stores of a connections file. */

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  ConfigError,
  findConnection,
  listConnections,
  PoolsmithError,
  resolveConnection,
  type StoreOptions,
} from '../../src/index.ts'
import { openStores, Secret } from '../../src/stores/index.ts'
import { temporaryFolder } from '../support/folder.ts'
import { AWS_USER_KEYS } from '../support/vault/aws-logins.ts'
import { startVaultDouble, type VaultDouble } from '../support/vault/double.ts'
import { administer } from '../support/vault/server.ts'

const CLASS = 'airflow.providers.hashicorp.secrets.vault.VaultBackend'

function worker(vault: VaultDouble, kwargs: Readonly<Record<string, unknown>> = {}): Record<string, string> {
  const all = { url: vault.address, token: vault.rootToken, ...kwargs }
  return { AIRFLOW__SECRETS__BACKEND: CLASS, AIRFLOW__SECRETS__BACKEND_KWARGS: JSON.stringify(all) }
}

const write = (vault: VaultDouble, path: string, data: Readonly<Record<string, unknown>>) =>
  administer(vault, 'POST', `secret/data/${path}`, { data })

async function rejection(promise: Promise<unknown>): Promise<PoolsmithError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof PoolsmithError, String(error))
  return error
}

test('the variables of an Airflow worker lead to its backend, after ours and before those of Airflow', async () => {
  await using vault = await startVaultDouble()
  await write(vault, 'connections/sales', { conn_uri: 'postgres://backend/sales' })
  await write(vault, 'connections/lake', {
    conn_type: 'mssql',
    host: 'fields',
    login: 'etl',
    password: 'x',
    port: 1433,
  })
  const environment = worker(vault)
  const host = async (id: string, more: Record<string, string> = {}) =>
    (await resolveConnection(id, { environment: { ...environment, ...more }, cwd: '/' })).host
  assert.equal(await host('sales'), 'backend')
  assert.equal(await host('lake'), 'fields')
  assert.equal(await host('sales', { AIRFLOW_CONN_SALES: 'postgres://airflow' }), 'backend')
  assert.equal(await host('other', { AIRFLOW_CONN_OTHER: 'postgres://airflow' }), 'airflow')
  assert.equal(await host('sales', { POOLSMITH_CONN_SALES: 'postgres://ours' }), 'ours')
})

test('the settings of the worker come before those of the server, each with its own arguments', async () => {
  await using vault = await startVaultDouble()
  await write(vault, 'mine/sales', { conn_uri: 'postgres://worker/sales' })
  await write(vault, 'connections/sales', { conn_uri: 'postgres://server/sales' })
  const environment = {
    ...worker(vault),
    AIRFLOW__WORKERS__SECRETS_BACKEND: CLASS,
    AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS: JSON.stringify({ url: vault.address, connections_path: 'other' }),
    AIRFLOW__WORKERS__SECRETS_BACKEND_KWARG__CONNECTIONS_PATH: 'mine/',
    VAULT_TOKEN: vault.rootToken,
  }
  assert.equal((await findConnection('sales', { environment, cwd: '/' })).host, 'worker')
})

test('arguments come from the output of a command too, which no shell reads', async () => {
  await using vault = await startVaultDouble()
  await write(vault, 'connections/sales', { conn_uri: 'postgres://backend/sales' })
  const { AIRFLOW__SECRETS__BACKEND, AIRFLOW__SECRETS__BACKEND_KWARGS: kwargs = '' } = worker(vault)
  const AIRFLOW__SECRETS__BACKEND_KWARGS_CMD = `"${process.execPath}" -e 'process.stdout.write(process.argv[1])' '${kwargs}'`
  const environment = { AIRFLOW__SECRETS__BACKEND, AIRFLOW__SECRETS__BACKEND_KWARGS_CMD }
  assert.equal((await findConnection('sales', { environment, cwd: '/' })).host, 'backend')
})

test('a backend that fails is named, and is never read as one that has no such connection', async () => {
  await using vault = await startVaultDouble()
  const environment = { ...worker(vault), AIRFLOW_CONN_SALES: 'postgres://airflow' }
  const find = () => rejection(findConnection('sales', { environment, cwd: '/' }))
  const faults: readonly (readonly [status: number, body: unknown, code: string])[] = [
    [503, { errors: ['Vault is sealed'] }, 'STORE_SEALED'],
    [403, { errors: ['permission denied'] }, 'STORE_REFUSED'],
    [412, { errors: ['required index state not present'] }, 'STORE_FAILED'],
    [429, { errors: ['request path "secret/data/x": rate limit quota exceeded'] }, 'STORE_FAILED'],
    [404, '<html>Not Found</html>', 'STORE_ANSWER_UNUSABLE'],
    [200, '<html>Sign in</html>', 'STORE_ANSWER_UNUSABLE'],
    [404, { errors: ['no handler for route "secret/data/x". route entry not found.'] }, 'STORE_REFUSED'],
  ]
  for (const [status, body, code] of faults) {
    vault.fault = ({ path }) => (path.startsWith('secret/') ? { status, body: body as never } : undefined)
    const error = await find()
    assert.equal(error.code, code, error.message)
    assert.match(`${error.message} ${JSON.stringify(error.details)}`, /127\.0\.0\.1:\d+/)
    assert.ok(!JSON.stringify(error).includes(vault.rootToken) || vault.rootToken === 'root')
  }
  vault.fault = undefined
  assert.equal((await findConnection('sales', { environment, cwd: '/' })).host, 'airflow')
})

test('a login that is missing is no connection that is missing', async () => {
  await using vault = await startVaultDouble()
  const environment = worker(vault, { token: null, token_path: '/not/there' })
  const error = await rejection(findConnection('sales', { environment, cwd: '/' }))
  assert.equal(error.code, 'CREDENTIAL_MISSING')
  const elsewhere = worker(vault, { auth_type: 'approle', role_id: 'x', auth_mount_point: 'nowhere' })
  const refused = await rejection(findConnection('sales', { environment: elsewhere, cwd: '/' }))
  assert.equal(refused.code, 'STORE_REFUSED')
})

test('aws_iam logs in by the keys, the role and the region of the arguments', async () => {
  await using vault = await startVaultDouble()
  await write(vault, 'connections/sales', { conn_uri: 'postgres://backend/sales' })
  const policy = 'path "secret/data/connections/*" { capabilities = ["read"] }'
  await administer(vault, 'POST', 'sys/policies/acl/reader', { policy })
  await administer(vault, 'POST', 'auth/aws/role/etl', { token_policies: ['reader'] })
  const { accessKeyId: key, secretAccessKey: secret } = AWS_USER_KEYS
  const login = { token: null, auth_type: 'aws_iam', key_id: key, secret_id: secret, role_id: 'etl' }
  for (const region of [null, 'eu-west-1']) {
    const environment = worker(vault, { ...login, region })
    assert.equal((await findConnection('sales', { environment, cwd: '/' })).host, 'backend')
  }
  const other = await rejection(
    findConnection('sales', { environment: worker(vault, { ...login, role_id: 'other' }), cwd: '/' }),
  )
  assert.match(other.message, /log in by aws .*entry for role other not found/)
  const half = worker(vault, { ...login, secret_id: null })
  const problem = await rejection(findConnection('sales', { environment: half, cwd: '/' }))
  assert.match(problem.message, /secret_id: /)
})

test('a connection that no store has names the places that were looked at', async () => {
  await using vault = await startVaultDouble()
  await write(vault, 'connections/gone', { conn_uri: 'postgres://h' })
  await administer(vault, 'DELETE', 'secret/data/connections/gone')
  for (const id of ['never', 'gone']) {
    const error = await rejection(findConnection(id, { environment: worker(vault), cwd: '/' }))
    assert.equal(error.code, 'CONNECTION_NOT_FOUND')
    const [, backend] = error.details.lookedAt as string[]
    assert.match(backend ?? '', /^Vault 127\.0\.0\.1:\d+$/)
  }
})

const WRONG: Readonly<Record<string, readonly [environment: Record<string, string>, message: RegExp]>> = {
  'a class that is unknown': [
    { AIRFLOW__SECRETS__BACKEND: 'airflow.providers.hashicorp.secrets.vault.VaultBackends' },
    /AIRFLOW__SECRETS__BACKEND.*type: no store of this kind is known; did you mean .*VaultBackend\?/s,
  ],
  'arguments that are no JSON': [
    { AIRFLOW__SECRETS__BACKEND: CLASS, AIRFLOW__SECRETS__BACKEND_KWARGS: '{"token": "hunter2"' },
    /AIRFLOW__SECRETS__BACKEND_KWARGS: is not valid JSON/,
  ],
  'arguments that are no object': [
    { AIRFLOW__SECRETS__BACKEND: CLASS, AIRFLOW__SECRETS__BACKEND_KWARGS: '["hunter2"]' },
    /AIRFLOW__SECRETS__BACKEND_KWARGS: expected a JSON object/,
  ],
  'an argument that is misspelled': [
    { AIRFLOW__SECRETS__BACKEND: CLASS, AIRFLOW__SECRETS__BACKEND_KWARGS: '{"mount_pont": "hunter2"}' },
    /mount_pont: unknown key; did you mean mount_point\?/,
  ],
  'an argument that is not supported': [
    { AIRFLOW__SECRETS__BACKEND: CLASS, AIRFLOW__SECRETS__BACKEND_KWARGS: '{"proxies": "hunter2"}' },
    /proxies: is not supported/,
  ],
  'a login that lacks its arguments': [
    {
      AIRFLOW__SECRETS__BACKEND: CLASS,
      AIRFLOW__SECRETS__BACKEND_KWARGS: '{"url": "https://vault", "auth_type": "userpass", "username": "hunter2"}',
    },
    /password: vault_auth=userpass needs it/,
  ],
  'an address that is not protected': [
    { AIRFLOW__SECRETS__BACKEND: CLASS, AIRFLOW__SECRETS__BACKEND_KWARG__URL: 'http://vault.example.com' },
    /url: expected https/,
  ],
}

for (const [what, [environment, message]] of Object.entries(WRONG)) {
  test(`${what} is an error of the configuration, which repeats no value`, async () => {
    const error = await rejection(findConnection('sales', { environment, cwd: '/' }))
    assert.ok(error instanceof ConfigError)
    assert.match(error.message, message)
    assert.ok(!JSON.stringify(error).includes('hunter2'))
  })
}

test('a mount of null is the first part of the id, and a path of null turns look-ups off', async () => {
  await using vault = await startVaultDouble()
  await write(vault, 'mine/sales', { conn_uri: 'postgres://h/by-id' })
  const found = (kwargs: Readonly<Record<string, unknown>>, id: string) =>
    findConnection(id, { environment: worker(vault, kwargs), cwd: '/' })
  const byId = await found({ mount_point: null, connections_path: 'mine' }, 'secret/sales')
  assert.equal(byId.database, 'by-id')
  assert.equal((await rejection(found({ mount_point: null }, 'sales'))).code, 'CONNECTION_NOT_FOUND')
  vault.asked.length = 0
  assert.equal((await rejection(found({ connections_path: null }, 'sales'))).code, 'CONNECTION_NOT_FOUND')
  assert.equal(vault.asked.length, 0)
  const inSecond = await found({ connections_path: ['first', 'mine'] }, 'sales')
  assert.equal(inSecond.database, 'by-id')
})

test('an id that leads out of the path of connections is not asked for', async () => {
  await using vault = await startVaultDouble()
  await write(vault, 'other/sales', { conn_uri: 'postgres://h' })
  vault.asked.length = 0
  for (const id of ['../other/sales', 'a/../../other/sales', '..', 'sales/.', '/sales']) {
    const error = await rejection(findConnection(id, { environment: worker(vault), cwd: '/' }))
    assert.equal(error.code, 'CONNECTION_NOT_FOUND', id)
  }
  assert.equal(vault.asked.length, 0)
})

test('a team sees its own connections alone, as in Airflow', async () => {
  await using vault = await startVaultDouble()
  await write(vault, 'connections/data/sales', { conn_uri: 'postgres://team' })
  await write(vault, 'connections/sales', { conn_uri: 'postgres://all' })
  await write(vault, 'shared/lake', { conn_uri: 'postgres://shared' })
  const environment = worker(vault, { use_team_secrets_path: false, global_secrets_path: 'shared' })
  const find = (id: string, team: string, more: Record<string, string>) =>
    findConnection(id, { environment: more, cwd: '/', team })
  assert.equal((await find('sales', 'data', worker(vault))).host, 'team')
  assert.equal((await rejection(find('sales', 'ops', worker(vault)))).code, 'CONNECTION_NOT_FOUND')
  assert.equal((await find('sales', 'ops', environment)).host, 'all')
  assert.equal((await find('lake', 'ops', environment)).host, 'shared')
})

async function inFile(content: string, use: (options: StoreOptions & { cwd: string }) => Promise<void>): Promise<void> {
  await using folder = await temporaryFolder()
  await writeFile(join(folder.path, 'connections.yaml'), content, { mode: 0o600 })
  await use({ environment: {}, cwd: folder.path })
}

test('the stores of a connections file are asked in their order after its own connections', async () => {
  await using vault = await startVaultDouble()
  await write(vault, 'connections/sales', { conn_uri: 'postgres://vault' })
  await write(vault, 'connections/lake', { conn_uri: 'postgres://vault' })
  const settings = (path: string): string =>
    `{ type: vault, url: '${vault.address}', token: ${vault.rootToken}, connections_path: ${path} }`
  const content = `
lake: postgres://file
stores:
  - { type: file, connections_file_path: more.json }
  - ${settings('connections')}
`
  await inFile(content, async (options) => {
    await writeFile(join(options.cwd, 'more.json'), '{"more": "postgres://more"}', { mode: 0o600 })
    const host = async (id: string) => (await findConnection(id, options)).host
    assert.deepEqual([await host('lake'), await host('more'), await host('sales')], ['file', 'more', 'vault'])
    const warnings: string[] = []
    const listed = await listConnections({ ...options, onWarning: ({ message }) => warnings.push(message) })
    assert.deepEqual(
      listed.map(({ id, store }) => [id, store.replace(options.cwd, '')]),
      [
        ['lake', 'file /connections.yaml'],
        ['more', 'file more.json'],
      ],
    )
    assert.match(warnings.join(), /Vault .* cannot be listed/)
    // The first store that fails ends the search.
    vault.fault = () => ({ status: 503, body: { errors: ['Vault is sealed'] } })
    assert.equal(await host('more'), 'more')
    assert.equal((await rejection(findConnection('never', options))).code, 'STORE_SEALED')
  })
})

test('a connection may be called stores', async () => {
  await inFile('stores: postgres://h/a', async (options) => {
    assert.equal((await findConnection('stores', options)).database, 'a')
  })
})

test('stores that are open ask once for many callers, keep what they got, and tell missing from failed', async () => {
  await using vault = await startVaultDouble()
  await write(vault, 'connections/sales', { conn_uri: 'postgres://etl:hunter2@h/sales' })
  await write(vault, 'variables/bucket', { value: 'bronze' })
  await write(vault, 'config/sql', { value: 'postgres://metadata' })
  vault.asked.length = 0
  const stale: string[] = []
  let isDown = false
  vault.fault = () => (isDown ? { status: 503, body: { errors: ['Vault is sealed'] } } : undefined)
  await using stores = openStores({
    environment: { POOLSMITH_VAR_OWN: 'ours', AIRFLOW_VAR_LOCAL: 'local' },
    cwd: '/',
    stores: [{ type: 'vault', url: vault.address, token: new Secret(vault.rootToken) }],
    onStale: ({ place }) => stale.push(place),
  })
  const all = await Promise.all(Array.from({ length: 100 }, () => stores.getConnection('sales')))
  assert.ok(all.every((one) => one?.database === 'sales' && one.password?.reveal() === 'hunter2'))
  assert.equal(vault.asked.filter(({ path }) => path.startsWith('secret/data/')).length, 1)
  assert.equal((await stores.getVariable('bucket'))?.reveal(), 'bronze')
  assert.equal((await stores.getVariable('own'))?.reveal(), 'ours')
  assert.equal((await stores.getVariable('local'))?.reveal(), 'local')
  assert.equal((await stores.getConfig('sql'))?.reveal(), 'postgres://metadata')
  assert.equal(await stores.getConnection('never'), undefined)
  assert.equal(await stores.getVariable('never'), undefined)
  assert.equal(await stores.getConfig('never'), undefined)
  isDown = true
  assert.equal((await stores.getConnection('sales'))?.host, 'h')
  assert.equal((await rejection(stores.getConnection('other'))).code, 'STORE_SEALED')
  assert.equal((await rejection(stores.getVariable('other'))).code, 'STORE_SEALED')
})

test('connections and variables are written to the first store that can be written, as Airflow reads them', async () => {
  await using vault = await startVaultDouble()
  await write(vault, 'connections/sales', { conn_type: 'postgres', host: 'old', password: 'hunter2' })
  const stores = [{ type: 'environment' }, { type: 'vault', url: vault.address, token: vault.rootToken }] as const
  await using opened = openStores({ environment: {}, cwd: '/', stores })
  const uri = 'postgres://etl:new@h:5433/sales?sslmode=require'
  for (const id of ['sales', 'fresh']) {
    await opened.setConnection(id, uri)
    const found = await opened.getConnection(id)
    assert.deepEqual([found?.host, found?.password?.reveal(), found?.extra], ['h', 'new', { sslmode: 'require' }])
    const { data } = await administer(vault, 'GET', `secret/data/connections/${id}`)
    const fields = (data as { data: Record<string, string> }).data
    assert.deepEqual(Object.keys(fields), ['conn_uri'])
    assert.equal(JSON.parse(fields['conn_uri'] ?? '').schema, 'sales')
  }
  await opened.setVariable('bucket', 'bronze')
  await opened.setVariable('bucket', 'silver')
  assert.equal((await opened.getVariable('bucket'))?.reveal(), 'silver')
  await using readOnly = openStores({ environment: {}, cwd: '/', stores: stores.slice(0, 1) })
  const refused = await rejection(readOnly.setConnection('sales', uri))
  assert.match(refused.message, /stores: none of them can be written/)
})

test('a store of one’s own is asked like the others', async () => {
  const own = {
    name: 'the table of connections',
    getConnection: async (id: string) => (id === 'sales' ? { value: 'postgres://own/sales' } : undefined),
  }
  const options = { environment: {}, cwd: '/', stores: [own] }
  assert.equal((await findConnection('sales', options)).host, 'own')
  const error = await rejection(findConnection('other', options))
  assert.equal((error.details.lookedAt as string[]).at(-1), 'the table of connections')
})
