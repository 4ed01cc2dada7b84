/** After the login no secret can be reached: users of Vault, secrets in stores, and the pools of other packages. */

import assert from 'node:assert/strict'
import { createPrivateKey } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Kysely } from 'kysely'
import { postgresDialect, sqlServerDialect } from '../../src/engine/kysely/index.ts'
import { createPgPool } from '../../src/engine/pg/index.ts'
import { type ConnectionInput, createMssqlPool, Secret } from '../../src/index.ts'
import { EncryptedFile } from '../../src/stores/encrypted/file.ts'
import { encryptedReader } from '../../src/stores/encrypted/reader.ts'
import { temporaryFolder } from '../support/folder.ts'
import { findSecrets } from '../support/object-graph.ts'
import { startOpenIdProvider } from '../support/openid-provider.ts'
import { createPki, type IssuedCertificate, type Pki } from '../support/pki.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { assertHidden, type Connection, ENVIRONMENT, hearAll } from '../support/session-secrets.ts'
import { startTdsServer, type TdsServer } from '../support/tds/server.ts'
import { startTokenDatabase } from '../support/token-database.ts'
import { startVaultDouble, type VaultDouble } from '../support/vault/double.ts'
import { administer } from '../support/vault/server.ts'

const PASSWORD = 'Pa55word-of-the-login'
const PASSPHRASE = 'the-passphrase-of-the-key'
const CLIENT_SECRET = 'the-secret-of-the-application'
const ROLE_SECRET = 'the-secret-id-of-the-role'
const VAULT_TOKEN = 'hvs.the-token-that-Vault-gave'
const KEY = Buffer.alloc(32, 0x37)

const stack = new AsyncDisposableStack()
let folder: string
let pki: Pki
let certificate: IssuedCertificate
let caFile: string
let postgres: PostgresServer
let sqlServer: TdsServer
let vault: VaultDouble

before(async () => {
  folder = stack.use(await temporaryFolder()).path
  pki = await createPki()
  certificate = await pki.issue({ commonName: 'localhost', dns: ['localhost'], ip: ['127.0.0.1'] })
  caFile = join(folder, 'ca.pem')
  await writeFile(caFile, pki.ca)
  process.env.PGPASSWORD = ENVIRONMENT
  stack.defer(() => {
    delete process.env.PGPASSWORD
  })
  postgres = stack.use(
    await startPostgres({
      flavor: 'debian',
      tls: { cert: certificate.cert, key: certificate.key, ca: pki.ca },
      hba: ['hostssl all etl 127.0.0.1/32 scram-sha-256', 'hostssl all certain 127.0.0.1/32 cert'],
    }),
  )
  await postgres.sql(`create role etl login password '${PASSWORD}'; create role certain login`)
  const behind = stack.use(await startPostgres())
  sqlServer = stack.use(await startTdsServer({ postgres: behind, tls: certificate, logins: { etl: PASSWORD } }))
  vault = stack.use(await startVaultDouble())
  vault.fault = (asked) => {
    // The token of the double is a word that stands in names of options.
    if (asked.headers['x-vault-token'] === VAULT_TOKEN) asked.headers['x-vault-token'] = vault.rootToken
    const body = USERS[asked.path]
    return body && { status: 200, body }
  }
})
after(() => stack.disposeAsync())

const toPostgres = (extra: object, more: object = {}): Connection => ({
  type: 'postgres',
  host: 'localhost',
  port: postgres.port,
  database: 'postgres',
  ...more,
  extra: { hostaddr: '127.0.0.1', sslmode: 'verify-full', sslrootcert: caFile, ...extra },
})

const toSqlServer = (extra: object, more: object = {}): Connection => ({
  type: 'mssql',
  host: 'localhost',
  port: sqlServer.port,
  database: 'master',
  ...more,
  extra: { ca_file: caFile, ...extra },
})

/** Answers of Vault about a user of both databases. */
const USERS: Readonly<Record<string, Record<string, unknown>>> = {
  'auth/approle/login': { auth: { client_token: VAULT_TOKEN, lease_duration: 3600, renewable: true } },
  'database/creds/app': {
    lease_id: 'database/creds/app/1',
    lease_duration: 3600,
    renewable: true,
    data: { username: 'etl', password: PASSWORD },
  },
  'database/static-creds/app': { data: { username: 'etl', password: PASSWORD, ttl: 3600 } },
  'sys/leases/revoke': {},
}

const BOTH = { PostgreSQL: toPostgres, 'SQL Server': toSqlServer }

describe('auth_method=vault', () => {
  for (const [database, to] of Object.entries(BOTH)) {
    for (const option of ['vault_database_role', 'vault_static_role']) {
      test(`${database}, ${option}: the password, and the secret and the token of our login to Vault`, async () => {
        const extra = {
          auth_method: 'vault',
          vault_addr: vault.address,
          vault_auth: 'approle',
          vault_role_id: 'the-role',
          vault_secret_id: ROLE_SECRET,
          [option]: 'app',
        }
        await assertHidden(to(extra), [PASSWORD, ROLE_SECRET, VAULT_TOKEN])
      })
    }
  }
})

describe('a secret in a store', () => {
  const inVault = () => ({ vault_addr: vault.address, vault_token: VAULT_TOKEN })
  const put = (path: string, data: object) => administer(vault, 'POST', `secret/data/${path}`, { data })

  for (const [database, to] of Object.entries(BOTH)) {
    test(`${database}: a password in Vault, and the token for it`, async () => {
      await put('sales', { password: PASSWORD })
      const extra = { password_from: 'vault:secret/sales#password', ...inVault() }
      await assertHidden(to(extra, { login: 'etl' }), [PASSWORD, VAULT_TOKEN])
      await put('sales', { password: `${PASSWORD}!` })
      await assertHidden(to(extra, { login: 'etl' }), [PASSWORD, VAULT_TOKEN], { fails: true })
    })

    test(`${database}: a password in an encrypted file, and the key of it`, async () => {
      const [path, keyFile] = [join(folder, `secrets-of-${to.name}`), join(folder, `key-of-${to.name}`)]
      await writeFile(keyFile, KEY.toString('base64'), { mode: 0o600 })
      const store = encryptedReader(new EncryptedFile({ path, keyFile, environment: {} }))
      const fields = new Map(Object.entries({ password: new Secret(PASSWORD) }))
      await store.write?.('sales', fields, { replaces: undefined, signal: AbortSignal.timeout(60_000) })
      const extra = { password_from: 'encrypted:sales#password', secrets_file: path, secrets_key_file: keyFile }
      await assertHidden(to(extra, { login: 'etl' }), [PASSWORD, KEY])
    })
  }

  test('a client key and its passphrase', async () => {
    const issued = await pki.issue({ commonName: 'certain', client: true })
    const key = createPrivateKey(issued.key)
    const cipher = { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: PASSPHRASE } as const
    const encrypted = key.export(cipher).toString()
    await put('certain', { cert: issued.cert, key: encrypted, passphrase: PASSPHRASE })
    const extra = {
      auth_method: 'ssl_cert',
      sslcert_from: 'vault:secret/certain#cert',
      sslkey_from: 'vault:secret/certain#key',
      sslpassword_from: 'vault:secret/certain#passphrase',
      ...inVault(),
    }
    const { d = '' } = key.export({ format: 'jwk' })
    const secrets = [PASSPHRASE, encrypted.split('\n')[1] ?? '', Buffer.from(d, 'base64url'), VAULT_TOKEN]
    await assertHidden(toPostgres(extra, { login: 'certain' }), secrets)
  })

  test('the secret of an application, and its token', async () => {
    await using provider = await startOpenIdProvider({ app: { secret: CLIENT_SECRET } })
    await using database = await startTokenDatabase('db.example.com', ['svc'], () => undefined)
    await put('app', { secret: CLIENT_SECRET })
    const extra = {
      ...database.extra,
      auth_method: 'azure_ad',
      client_id: 'app',
      client_secret_from: 'vault:secret/app#secret',
      tenant_id: provider.tenant,
      authority_host: provider.authorityHost,
      disable_instance_discovery: true,
      ...inVault(),
    }
    const to = { type: 'postgres', host: 'db.example.com', port: database.server.port, database: 'postgres' }
    // Every token of Entra begins with `{"alg":`, or `{"typ":`, in base64url.
    await assertHidden({ ...to, login: 'svc', extra }, [CLIENT_SECRET, 'eyJhbGciOi', VAULT_TOKEN])
  })
})

describe('the pools of other packages', () => {
  const login = { login: 'etl', password: PASSWORD }
  const secrets = [PASSWORD, ENVIRONMENT]

  test('pg: the pool, its clients and its options', async () => {
    const { told, on } = hearAll()
    await using pool = await createPgPool(toPostgres({}, login) as ConnectionInput, { on })
    const client = await pool.connect()
    await client.query('select 1')
    assert.deepEqual(findSecrets([client, pool, pool.options, told], secrets), [])
    client.release()
    await using refused = await createPgPool(toPostgres({}, { ...login, password: `${PASSWORD}!` }) as ConnectionInput)
    const error: unknown = await refused.query('select 1').catch((reason: unknown) => reason)
    assert.ok(error instanceof Error)
    assert.deepEqual(findSecrets([error, refused], secrets), [])
  })

  test('mssql: the pool, its connections and its configuration', async () => {
    const { told, on } = hearAll()
    await using pool = await createMssqlPool(toSqlServer({}, login) as ConnectionInput, { on })
    await pool.connect()
    await pool.query('select 1 as one')
    const raw = await pool.connections.acquire().promise
    assert.deepEqual(findSecrets([raw, pool, told], secrets), [])
    pool.connections.release(raw)
  })

  for (const [database, to] of Object.entries(BOTH)) {
    test(`Kysely, ${database}: the dialect and its driver`, async () => {
      const { told, on } = hearAll()
      const make = to === toPostgres ? postgresDialect : sqlServerDialect
      const dialect = await make(to({}, login) as ConnectionInput, { on })
      const db = new Kysely<object>({ dialect })
      try {
        await db.connection().execute(async (connection) => {
          assert.deepEqual(findSecrets([dialect, connection.getExecutor(), told], secrets), [])
        })
      } finally {
        await db.destroy()
      }
    })
  }
})
