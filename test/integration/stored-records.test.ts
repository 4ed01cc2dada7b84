/** Whole connections that a store holds, over a real PostgreSQL. */

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import { createEngine, type EngineOptions, PoolsmithError, resolveConnection } from '../../src/index.ts'
import { openStores } from '../../src/stores/index.ts'
import { temporaryFolder } from '../support/folder.ts'
import { findSecrets } from '../support/object-graph.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { startVaultDouble, type VaultDouble } from '../support/vault/double.ts'
import { administer } from '../support/vault/server.ts'

const BACKEND = 'airflow.providers.hashicorp.secrets.vault.VaultBackend'

/** A connection in Vault: how it is written for a login, and the input that leads to it. */
interface Form {
  readonly input: string
  record(server: PostgresServer, login: string, password: string): Readonly<Record<string, unknown>>
}

const uriOf = ({ host, port }: PostgresServer, login: string, password: string): string =>
  `postgres://${login}:${password}@${host}:${port}/postgres`

const FORMS: Readonly<Record<string, Form>> = {
  'the JSON that RDS keeps': {
    input: 'vault:secret/connections/sales',
    record: ({ host, port }, username, password) => ({
      engine: 'postgres',
      host,
      port,
      username,
      password,
      dbname: 'postgres',
    }),
  },
  'the fields of Airflow': {
    input: 'vault:secret/connections/sales',
    record: ({ host, port }, login, password) => ({
      conn_type: 'postgres',
      host,
      port,
      login,
      password,
      schema: 'postgres',
    }),
  },
  'the URI of Airflow': {
    input: 'vault:secret/connections/sales',
    record: (...given) => ({ conn_uri: uriOf(...given) }),
  },
  'JSON text in a field': {
    input: 'vault:secret/connections/sales#record',
    record: ({ host, port }, login, password) => ({
      other: 'x',
      record: JSON.stringify({ type: 'postgres', host, port, login, password, database: 'postgres' }),
    }),
  },
  'a connection by its id in a backend': { input: 'sales', record: (...given) => ({ conn_uri: uriOf(...given) }) },
}

function optionsOf(vault: VaultDouble, extra: Readonly<Record<string, unknown>> = {}): EngineOptions {
  const kwargs = { url: vault.address, token: vault.rootToken }
  return {
    pool_recycle: 0.01,
    extra: { vault_addr: vault.address, vault_token: vault.rootToken, ...extra },
    stores: {
      environment: { AIRFLOW__SECRETS__BACKEND: BACKEND, AIRFLOW__SECRETS__BACKEND_KWARGS: JSON.stringify(kwargs) },
      cwd: '/',
    },
  }
}

for (const [what, { input, record }] of Object.entries(FORMS)) {
  test(`${what}: an engine is made of it, and follows its login and password`, { timeout: 60_000 }, async () => {
    await using vault = await startVaultDouble()
    await using server = await startPostgres()
    await server.sql("create role first login password 'one'; create role second login password 'two'")
    const write = (login: string, password: string) =>
      administer(vault, 'POST', 'secret/data/connections/sales', { data: record(server, login, password) })
    await write('first', 'one')
    await using db = await createEngine(input, optionsOf(vault))
    const userNow = async (): Promise<string> => (await db.raw('select current_user as name')).rows[0].name
    assert.equal(await userNow(), 'first')
    assert.deepEqual(findSecrets([db.connection, inspect(db, { depth: 8 })], ['"one"', ':one@']), [])
    // The server refuses the old login, and the store has another by then.
    await write('second', 'two')
    await server.sql("alter role first password 'three'")
    db.pool.invalidate()
    assert.equal(await userNow(), 'second')
    // The store has the next password before the server has it: the version before is tried.
    await write('second', 'four')
    db.pool.invalidate()
    assert.equal(await userNow(), 'second')
    await server.sql("alter role second password 'four'")
    db.pool.invalidate()
    assert.equal(await userNow(), 'second')
  })
}

test('a rotation is followed after the time to live, without a refused login', { timeout: 60_000 }, async () => {
  await using vault = await startVaultDouble()
  await using server = await startPostgres()
  await server.sql("create role first login password 'one'; create role second login password 'two'")
  const write = (login: string, password: string) =>
    administer(vault, 'POST', 'secret/data/sales', { data: { conn_uri: uriOf(server, login, password) } })
  await write('first', 'one')
  await using db = await createEngine('vault:secret/sales', optionsOf(vault, { secrets_ttl: 1 }))
  const userNow = async (): Promise<string> => (await db.raw('select current_user as name')).rows[0].name
  assert.equal(await userNow(), 'first')
  await write('second', 'two')
  while ((await userNow()) !== 'second') await sleep(50)
})

test('one login serves the record and its rotations', async () => {
  await using vault = await startVaultDouble()
  await using server = await startPostgres()
  await administer(vault, 'POST', 'sys/policies/acl/all', { policy: 'path "secret/*" { capabilities = ["read"] }' })
  await administer(vault, 'POST', 'sys/auth/approle', { type: 'approle' })
  await administer(vault, 'POST', 'auth/approle/role/once', { token_policies: ['all'], secret_id_num_uses: 1 })
  const { data } = await administer(vault, 'GET', 'auth/approle/role/once/role-id')
  const secret = await administer(vault, 'POST', 'auth/approle/role/once/secret-id', {})
  const uri = uriOf(server, 'postgres', server.superuserPassword)
  await administer(vault, 'POST', 'secret/data/sales', { data: { conn_uri: uri } })
  const login = {
    vault_auth: 'approle',
    vault_role_id: (data as { role_id: string }).role_id,
    vault_secret_id: (secret.data as { secret_id: string }).secret_id,
    vault_kv_version: 2,
    vault_token: undefined,
  }
  await using db = await createEngine('vault:secret/sales', optionsOf(vault, login))
  await db.raw('select 1')
  db.pool.invalidate()
  await db.raw('select 1')
})

test('a part of another connection may be named by its id', async () => {
  await using server = await startPostgres()
  const { host, port, superuserPassword: password } = server
  const environment = { POOLSMITH_CONN_ADMIN: `postgres://postgres:${password}@h` }
  const extra = { login_from: 'store:admin#login', password_from: 'store:admin#password' }
  await using db = await createEngine(
    { type: 'postgres', host, port, database: 'postgres', extra },
    { stores: { environment } },
  )
  await db.raw('select 1')
  const wrong = { type: 'postgres', host, port, login: 'x', extra: { password_from: 'store:nobody#password' } } as const
  await using other = await createEngine(wrong, { stores: { environment, cwd: '/' } })
  await assert.rejects(other.raw('select 1'), { code: 'SECRET_MISSING' })
})

test('an engine takes the stores that a program has opened', async () => {
  await using vault = await startVaultDouble()
  await using server = await startPostgres()
  const uri = uriOf(server, 'postgres', server.superuserPassword)
  await administer(vault, 'POST', 'secret/data/connections/sales', { data: { conn_uri: uri } })
  const stores = openStores({
    environment: {},
    cwd: '/',
    stores: [{ type: 'vault', url: vault.address, token: vault.rootToken }],
  })
  await using db = await createEngine('sales', { stores })
  await db.raw('select 1')
  assert.equal((await stores.getConnection('sales'))?.database, 'postgres')
  stores.close()
})

test('records come from variables, files and mounted secrets too', async () => {
  await using folder = await temporaryFolder()
  const environment = { SALES: 'postgres://variable' }
  const file = join(folder.path, 'uri')
  await writeFile(file, 'postgres://mounted\n', { mode: 0o600 })
  const host = async (input: string) => (await resolveConnection(input, { environment })).host
  assert.equal(await host('env:SALES'), 'variable')
  assert.equal(await host(`file:${file}`), 'mounted')
  assert.equal(await host(`k8s:${folder.path}`), 'mounted')
  await writeFile(join(folder.path, 'other'), 'x', { mode: 0o600 })
  assert.equal(await host(`k8s:${folder.path}#uri`), 'mounted')
})

test('a record that cannot be read names the store, the path and the step, and never the value', async () => {
  await using vault = await startVaultDouble()
  const write = (data: Readonly<Record<string, unknown>>) => administer(vault, 'POST', 'secret/data/sales', { data })
  const failure = async (input: string): Promise<PoolsmithError> => {
    const error = await createEngine(input, optionsOf(vault)).then(
      () => undefined,
      (reason: unknown) => reason,
    )
    assert.ok(error instanceof PoolsmithError, String(error))
    assert.ok(!`${error.message}${JSON.stringify(error)}`.includes('hunter2'))
    return error
  }
  await write({ host: 'h', password: 'hunter2', pasword: 'hunter2' })
  const wrong = await failure('vault:secret/sales')
  assert.match(wrong.message, /The connection in the secret secret\/sales in Vault .* is not valid.*pasword/s)
  assert.match((await failure('vault:secret/sales#uri')).message, /secret\/sales in Vault .* has no field uri/)
  assert.equal((await failure('vault:secret/never')).code, 'SECRET_MISSING')
  assert.match((await failure('vault:hunter2')).message, /expected vault: and a path/)
  assert.match((await failure('env:a-hunter2')).message, /expected env: and a path/)
  await write({ conn_uri: 'hunter2' })
  assert.equal((await failure('vault:secret/sales')).code, 'CONFIG_INVALID')
  vault.fault = () => ({ status: 503, body: { errors: ['Vault is sealed'] } })
  assert.equal((await failure('vault:secret/sales')).code, 'STORE_SEALED')
})

test('a secret that holds no connection is reported by what a connection lacks', async () => {
  await using vault = await startVaultDouble()
  const put = (path: string, data: object) => administer(vault, 'POST', `secret/data/connections/${path}`, { data })
  await put('password', { password: 'hunter2' })
  await put('empty', { conn_uri: '' })
  const environment = {
    VAULT_ADDR: vault.address,
    VAULT_TOKEN: vault.rootToken,
    AIRFLOW__SECRETS__BACKEND: BACKEND,
    AIRFLOW__SECRETS__BACKEND_KWARGS: JSON.stringify({ url: vault.address }),
  }
  const message = async (input: string): Promise<string> => {
    const error: unknown = await resolveConnection(input, { environment, cwd: '/' }).catch((reason: unknown) => reason)
    assert.ok(error instanceof PoolsmithError, 'it is a connection')
    assert.deepEqual(findSecrets(error, ['hunter2']), [])
    return error.message
  }
  assert.match(await message('vault:secret/connections/password'), /connections\/password in .*: type: missing;/)
  assert.match(await message('empty'), /connections\/empty in Vault .* is not valid: it is empty$/)
})
