/** Options that are in stores, over a real PostgreSQL whose password changes. */

import assert from 'node:assert/strict'
import { createPrivateKey } from 'node:crypto'
import { mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
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
import { temporaryFolder } from '../support/folder.ts'
import { createPki } from '../support/pki.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { startVaultDouble } from '../support/vault/double.ts'
import { administer } from '../support/vault/server.ts'

interface Place extends Partial<AsyncDisposable> {
  readonly reference: string
  readonly extra?: Readonly<Record<string, unknown>>
  readonly environment?: Record<string, string>
  write(password: string): Promise<void>
  /**
   * For a store that keeps the password before the present one: whether a session was opened with it since the present
   * one was written.
   */
  hasServedBefore?(): boolean
}

const PLACES: Readonly<Record<string, (folder: string) => Promise<Place>>> = {
  async 'a file'(folder) {
    const file = join(folder, 'password')
    return {
      reference: `file:${file}`,
      async write(password) {
        await writeFile(`${file}.new`, `${password}\n`, { mode: 0o600 })
        await rename(`${file}.new`, file)
      },
    }
  },
  async 'a field of a file'(folder) {
    const file = join(folder, 'sales.json')
    return {
      reference: `file:${file}#password`,
      async write(password) {
        await writeFile(`${file}.new`, JSON.stringify({ user: 'etl', password }), { mode: 0o600 })
        await rename(`${file}.new`, file)
      },
    }
  },
  async 'a variable'() {
    const environment: Record<string, string> = {}
    return {
      reference: 'env:SALES_PASSWORD',
      environment,
      async write(password) {
        environment['SALES_PASSWORD'] = password
      },
    }
  },
  async 'a mounted secret of Kubernetes'(folder) {
    let version = 0
    return {
      reference: `k8s:${folder}#password`,
      // As the kubelet does: a folder for each state, and a link that is moved from one to the next.
      async write(password) {
        const name = `..state_${++version}`
        await mkdir(join(folder, name))
        await writeFile(join(folder, name, 'password'), password, { mode: 0o644 })
        await symlink(name, join(folder, '..data_new'))
        await rename(join(folder, '..data_new'), join(folder, '..data'))
        if (version === 1) await symlink(join('..data', 'password'), join(folder, 'password'))
        else await rm(join(folder, `..state_${version - 1}`), { recursive: true })
      },
    }
  },
  async 'the key-value engine of Vault'() {
    const vault = await startVaultDouble()
    return {
      reference: 'vault:secret/sales#password',
      extra: { vault_addr: vault.address, vault_token: vault.rootToken, secrets_ttl: 1 },
      async write(password) {
        await administer(vault, 'POST', 'secret/data/sales', { data: { password } })
        vault.asked.length = 0
      },
      hasServedBefore: () => vault.asked.some(({ path }) => path.startsWith('secret/data/sales?version=')),
      [Symbol.asyncDispose]: () => vault[Symbol.asyncDispose](),
    }
  },
}

const ROTATIONS = 4

async function setPassword(server: PostgresServer, password: string): Promise<void> {
  await server.sql(`alter role etl password '${password}'`)
}

/** Changes the password in the store and on the server while no login is decided: the server's lock holds logins back. */
async function rotateTogether(server: PostgresServer, password: string, write: () => Promise<void>): Promise<void> {
  const { host, port, superuser: user, superuserPassword } = server
  const client = new pg.Client({ host, port, user, password: superuserPassword, database: 'postgres' })
  await client.connect()
  await client.query('begin; lock table pg_authid in access exclusive mode')
  await client.query(`alter role etl password '${password}'`)
  await write()
  await client.query('commit')
  await client.end()
}

for (const [kind, startPlace] of Object.entries(PLACES)) {
  test(`${kind} gives the password, and a rotation costs no failed statement`, { timeout: 120_000 }, async () => {
    await using folder = await temporaryFolder()
    await using server = await startPostgres()
    await server.sql('create role etl login')
    const place = await startPlace(folder.path)
    await using stack = new AsyncDisposableStack()
    stack.defer(async () => place[Symbol.asyncDispose]?.())
    await setPassword(server, 'password-0')
    await place.write('password-0')
    await using db = await createEngine(
      {
        type: 'postgres',
        host: server.host,
        port: server.port,
        login: 'etl',
        database: 'postgres',
        extra: { password_from: place.reference, ...place.extra },
      },
      { pool_size: 4, pool_recycle: 0.1, stores: { environment: place.environment ?? {} } },
    )
    let opened = 0
    db.pool.on('connection:opened', () => opened++)
    let isOver = false
    let statements = 0
    const worker = async (): Promise<void> => {
      while (!isOver) {
        await db.raw('select 1')
        statements++
      }
    }
    const rotate = async (): Promise<void> => {
      for (let round = 1; round <= ROTATIONS; round++) {
        const before = opened
        while (opened < before + 4) await sleep(10)
        const password = `password-${round}`
        if (place.hasServedBefore === undefined) {
          await rotateTogether(server, password, () => place.write(password))
          continue
        }
        await place.write(password)
        // Sessions are opened while the server does not know the password of the store yet.
        while (!place.hasServedBefore()) await sleep(10)
        const between = opened
        while (opened < between + 4) await sleep(10)
        await setPassword(server, password)
      }
      const before = opened
      while (opened < before + 4) await sleep(10)
      isOver = true
    }
    const workers = Array.from({ length: 8 }, worker)
    await Promise.all([rotate().finally(() => (isOver = true)), ...workers])
    assert.ok(statements > 0)
  })
}

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
