/** Options that are in stores, over a real PostgreSQL. */

import assert from 'node:assert/strict'
import { createPrivateKey } from 'node:crypto'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import {
  type ConfigError,
  createEngine,
  defineStrategy,
  type EngineOptions,
  PoolsmithError,
  Secret,
  StrategyRegistry,
  secret,
  staticSource,
} from '../../src/index.ts'
import { findSecrets } from '../support/object-graph.ts'
import { createPki } from '../support/pki.ts'
import { startPostgres } from '../support/postgres.ts'
import { startVaultDouble } from '../support/vault/double.ts'
import { administer } from '../support/vault/server.ts'

const TARGET = { type: 'postgres', host: '127.0.0.1', port: 1, login: 'etl', database: 'postgres' } as const

async function failureOf(
  extra: Readonly<Record<string, unknown>>,
  options: EngineOptions = {},
): Promise<PoolsmithError> {
  await using db = await createEngine({ ...TARGET, extra }, { stores: { environment: {} }, ...options })
  const error = await db.raw('select 1').then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof PoolsmithError, String(error))
  return error
}

test('a thousand first acquires read a secret once', async () => {
  await using vault = await startVaultDouble()
  await using server = await startPostgres()
  await administer(vault, 'POST', 'secret/data/sales', { data: { password: server.superuserPassword } })
  vault.asked.length = 0
  await using db = await createEngine(
    {
      ...TARGET,
      port: server.port,
      login: 'postgres',
      extra: { password_from: 'vault:secret/sales#password', vault_addr: vault.address, vault_token: vault.rootToken },
    },
    { pool_size: 10, max_overflow: 0, stores: { environment: {} } },
  )
  await Promise.all(Array.from({ length: 1000 }, () => db.raw('select 1')))
  assert.equal(vault.asked.filter(({ path }) => path.startsWith('secret/data/')).length, 1)
})

test('no object that can be reached, event or error holds the password or the token', async () => {
  await using vault = await startVaultDouble()
  await using server = await startPostgres()
  const password = 'Passw0rd-of-the-store'
  await server.sql(`create role etl login password '${password}'`)
  await administer(vault, 'POST', 'secret/data/sales', { data: { password } })
  const told: unknown[] = []
  const tell = (payload: unknown): void => void told.push(payload)
  const token = 's.TheRootTokenOfThisTest'
  // The double knows one token by its name; another leads to a refusal, which is told too.
  for (const vaultToken of [vault.rootToken, token]) {
    const extra = { password_from: 'vault:secret/sales#password', vault_addr: vault.address, vault_token: vaultToken }
    await using db = await createEngine(
      { ...TARGET, port: server.port, extra },
      {
        stores: { environment: {} },
        on: {
          'credential:refreshed': tell,
          'credential:failed': tell,
          'connection:opened': tell,
          'connection:failed': tell,
        },
      },
    )
    told.push(
      await db.raw('select 1').then(
        () => db.pool.stats(),
        (error: unknown) => error,
      ),
    )
    assert.deepEqual(
      findSecrets([db.connection, told, inspect(db, { depth: 8, showHidden: true })], [password, token]),
      [],
    )
  }
  assert.ok(told.length >= 4)
})

test('login and password come from one state of a secret', async () => {
  await using vault = await startVaultDouble()
  await using server = await startPostgres()
  await server.sql("create role first login password 'one'; create role second login password 'two'")
  await administer(vault, 'POST', 'secret/data/sales', { data: { user: 'first', password: 'one' } })
  const extra = {
    login_from: 'vault:secret/sales#user',
    password_from: 'vault:secret/sales#password',
    vault_addr: vault.address,
    vault_token: vault.rootToken,
  }
  await using db = await createEngine(
    { ...TARGET, port: server.port, login: null, extra },
    { pool_recycle: 0.01, stores: { environment: {} } },
  )
  const userNow = async (): Promise<string> => (await db.raw('select current_user as name')).rows[0].name
  assert.equal(await userNow(), 'first')
  await administer(vault, 'POST', 'secret/data/sales', { data: { user: 'second', password: 'two' } })
  await server.sql("alter role first password 'three'")
  db.pool.invalidate()
  assert.equal(await userNow(), 'second')
})

test('a store that is down serves what it served, with an event, until the grace period ends', async () => {
  await using vault = await startVaultDouble()
  await using server = await startPostgres()
  await administer(vault, 'POST', 'secret/data/sales', { data: { password: server.superuserPassword } })
  const extra = {
    password_from: 'vault:secret/sales#password',
    vault_addr: vault.address,
    vault_token: vault.rootToken,
    secrets_ttl: 1,
    secrets_grace: 3,
  }
  const stale: string[] = []
  await using db = await createEngine(
    { ...TARGET, port: server.port, login: 'postgres', extra },
    {
      pool_recycle: 0.01,
      stores: { environment: {} },
      on: { 'secret:stale': ({ place, error }) => stale.push(`${place}: ${error.code}`) },
    },
  )
  await db.raw('select 1')
  vault.fault = () => ({ status: 503, body: { errors: ['Vault is sealed'] } })
  while (stale.length === 0) {
    await db.raw('select 1')
    await sleep(50)
  }
  assert.match(stale[0] ?? '', /^The secret secret\/sales in Vault 127\.0\.0\.1:\d+: STORE_SEALED$/)
  let failure: unknown
  while (failure === undefined) {
    failure = await db.raw('select 1').then(
      () => undefined,
      (reason: unknown) => reason,
    )
    await sleep(50)
  }
  assert.equal((failure as PoolsmithError).code, 'STORE_SEALED')
  vault.fault = undefined
  // A failure is repeated for a second, so that a busy pool does not ask again and again.
  while (failure !== undefined) {
    failure = await db.raw('select 1').then(
      () => undefined,
      (reason: unknown) => reason,
    )
    await sleep(50)
  }
})

test('a secret that is missing is told apart from a store that fails', async () => {
  await using vault = await startVaultDouble()
  const extra = { vault_addr: vault.address, vault_token: vault.rootToken }
  assert.equal((await failureOf({ ...extra, password_from: 'vault:secret/never#x' })).code, 'SECRET_MISSING')
  const wrong = { ...extra, vault_token: 's.wrong' }
  assert.equal((await failureOf({ ...wrong, password_from: 'vault:secret/never#x' })).code, 'STORE_REFUSED')
  assert.equal((await failureOf({ password_from: 'env:NOT_THERE' })).code, 'SECRET_MISSING')
  assert.equal((await failureOf({ password_from: 'file:/not/there' })).code, 'SECRET_MISSING')
})

test('client certificate, key and passphrase come from a store, and follow it', async () => {
  await using vault = await startVaultDouble()
  const pki = await createPki()
  const { cert, key } = await pki.issue({ commonName: 'localhost', ip: ['127.0.0.1'] })
  await using server = await startPostgres({
    tls: { cert, key, ca: pki.ca },
    hba: ['hostssl all all 127.0.0.1/32 cert'],
  })
  const write = async (user: string): Promise<void> => {
    const client = await pki.issue({ commonName: user, client: true })
    const encrypted = createPrivateKey(client.key).export({
      type: 'pkcs8',
      format: 'pem',
      cipher: 'aes-256-cbc',
      passphrase: `pass-${user}`,
    })
    const data = { cert: client.cert, key: encrypted, passphrase: `pass-${user}` }
    await administer(vault, 'POST', 'secret/data/client', { data })
  }
  await server.sql('create role first login; create role second login')
  await write('first')
  await using db = await createEngine(
    {
      ...TARGET,
      port: server.port,
      login: null,
      extra: {
        auth_method: 'ssl_cert',
        sslmode: 'require',
        sslcert_from: 'vault:secret/client#cert',
        sslkey_from: 'vault:secret/client#key',
        sslpassword_from: 'vault:secret/client#passphrase',
        secrets_ttl: 1,
        vault_addr: vault.address,
        vault_token: vault.rootToken,
      },
    },
    { pool_recycle: 0.01, stores: { environment: {} } },
  )
  const userNow = async (): Promise<string> => (await db.raw('select current_user as name')).rows[0].name
  assert.equal(await userNow(), 'first')
  await write('second')
  while ((await userNow()) !== 'second') await sleep(50)
})

test('every secret option of a strategy may come from a store', async () => {
  const seen: unknown[] = []
  const registry = new StrategyRegistry()
  registry.register(
    defineStrategy({
      name: 'own',
      dialects: ['postgres'],
      description: 'A strategy with a secret of its own.',
      fields: { api_key: secret({ description: 'The key.' }) },
      credentials(_connection, { api_key: key }) {
        seen.push(key?.reveal())
        return staticSource({ kind: 'password', identity: 'etl', password: new Secret('x'), issuedAt: Date.now() })
      },
    }),
  )
  const error = await failureOf(
    { auth_method: 'own', api_key_from: 'env:API_KEY' },
    { registry, stores: { environment: { API_KEY: 'the key' } } },
  )
  assert.equal(error.code, 'CONNECT_REFUSED')
  assert.deepEqual(seen, ['the key'])
})

test('an option that is given twice, or by a reference that is none, is a problem of the record', async () => {
  const extra = { sslpassword: 'x', sslpassword_from: 'env:X', password_from: 'hunter2', api_key_from: 'env:Y' }
  await assert.rejects(createEngine({ ...TARGET, password: 'y', extra }), (error: ConfigError) => {
    const paths = error.problems.map(({ path }) => path)
    assert.deepEqual(paths.sort(), ['extra.password_from', 'extra.sslpassword_from'])
    assert.ok(!error.message.includes('hunter2'))
    return true
  })
  await assert.rejects(
    createEngine({ ...TARGET, extra: { password_from: 'vault:secret/sales#x' } }, { stores: { environment: {} } }),
    (error: ConfigError) => error.problems.every(({ path }) => path === 'extra.vault_addr'),
  )
})
