/** After the login no secret can be reached from a session, for both drivers and every strategy. */

import assert from 'node:assert/strict'
import { createPrivateKey } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { md4 } from '../../src/drivers/sqlserver/ntlm/md4.ts'
import type { PoolsmithError } from '../../src/errors.ts'
import { createEngine } from '../../src/index.ts'
import { temporaryFolder } from '../support/folder.ts'
import { gssAcceptor } from '../support/gss-acceptor.ts'
import { type KerberosPostgres, startKerberosPostgres } from '../support/kerberos-postgres.ts'
import { findSecrets } from '../support/object-graph.ts'
import { type OpenIdProvider, startOpenIdProvider } from '../support/openid-provider.ts'
import { createPki, type IssuedCertificate, type Pki } from '../support/pki.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { startProxyDouble } from '../support/proxy-double.ts'
import { assertHidden, type Connection, ENVIRONMENT } from '../support/session-secrets.ts'
import { ntlmAcceptor } from '../support/tds/ntlm-acceptor.ts'
import type { TdsServerOptions } from '../support/tds/options.ts'
import { startTdsServer, type TdsServer } from '../support/tds/server.ts'
import { startTokenDatabase } from '../support/token-database.ts'

const PASSWORD = 'Pa55word-of-the-login'
const PASSPHRASE = 'the-passphrase-of-the-key'
const CLIENT_SECRET = 'the-secret-of-the-application'
const PROXY_PASSWORD = 'the-password-at-the-proxy'
const AWS_SECRET = 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY'

const stack = new AsyncDisposableStack()
let folder: string
let pki: Pki
let certificate: IssuedCertificate
let caFile: string

before(async () => {
  folder = stack.use(await temporaryFolder()).path
  pki = await createPki()
  certificate = await pki.issue({ commonName: 'localhost', dns: ['localhost'], ip: ['127.0.0.1'] })
  caFile = join(folder, 'ca.pem')
  await writeFile(caFile, pki.ca)
  // pg looks for it where it is not told a password.
  process.env.PGPASSWORD = ENVIRONMENT
  stack.defer(() => {
    delete process.env.PGPASSWORD
  })
})
after(() => stack.disposeAsync())

describe('PostgreSQL', () => {
  let server: PostgresServer
  const at = (login: string, extra: object, password?: string): Connection => ({
    type: 'postgres',
    host: 'localhost',
    port: server.port,
    database: 'postgres',
    login,
    password,
    extra: { hostaddr: '127.0.0.1', sslrootcert: caFile, ...extra },
  })

  before(async () => {
    server = stack.use(
      await startPostgres({
        flavor: 'debian',
        tls: { cert: certificate.cert, key: certificate.key, ca: pki.ca },
        hba: [
          'hostssl all scram 127.0.0.1/32 scram-sha-256',
          'host all md5 127.0.0.1/32 md5',
          'hostssl all plain 127.0.0.1/32 password',
          'hostssl all certain 127.0.0.1/32 cert',
        ],
      }),
    )
    await server.sql(`create role scram login password '${PASSWORD}'`)
    await server.sql(`set password_encryption = md5; create role md5 login password '${PASSWORD}'`)
    await server.sql(`create role plain login password '${PASSWORD}'; create role certain login`)
  })

  test('password: SCRAM, md5, cleartext over TLS', async () => {
    await assertHidden(at('scram', { sslmode: 'verify-full' }, PASSWORD), [PASSWORD])
    await assertHidden(at('md5', { sslmode: 'disable', sslrootcert: undefined }, PASSWORD), [PASSWORD])
    await assertHidden(at('plain', { sslmode: 'verify-full' }, PASSWORD), [PASSWORD])
    await assertHidden(at('scram', { sslmode: 'verify-full' }, `${PASSWORD}!`), [PASSWORD], { fails: true })
  })

  test('password: from a file', async () => {
    const password_file = join(folder, 'password.txt')
    await writeFile(password_file, PASSWORD, { mode: 0o600 })
    await assertHidden(at('scram', { sslmode: 'verify-full', password_file }), [PASSWORD])
  })

  test('password: through a proxy that has one too', async () => {
    await using proxy = await startProxyDouble({ hosts: { localhost: '127.0.0.1' } })
    const url = `http://me:${PROXY_PASSWORD}@127.0.0.1:${proxy.port}`
    await assertHidden(at('scram', { sslmode: 'verify-full', proxy: url, hostaddr: undefined }, PASSWORD), [
      PASSWORD,
      PROXY_PASSWORD,
      `me:${PROXY_PASSWORD}`,
    ])
    assert.ok(proxy.requests.length > 0)
  })

  test('ssl_cert: a key with a passphrase', async () => {
    const issued = await pki.issue({ commonName: 'certain', client: true })
    const [sslcert, sslkey] = [join(folder, 'certain.pem'), join(folder, 'certain.key')]
    const key = createPrivateKey(issued.key)
    const cipher = { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: PASSPHRASE } as const
    await writeFile(sslcert, issued.cert)
    await writeFile(sslkey, key.export(cipher), { mode: 0o600 })
    const extra = { auth_method: 'ssl_cert', sslcert, sslkey, sslpassword: PASSPHRASE }
    const { d = '' } = key.export({ format: 'jwk' })
    await assertHidden(at('certain', extra), [PASSPHRASE, issued.key.split('\n')[1] ?? '', Buffer.from(d, 'base64url')])
  })

  test('iam: the token and the key that it is made with', async () => {
    let token = ''
    const host = 'prod.cluster-abc123.eu-west-1.rds.amazonaws.com'
    await using database = await startTokenDatabase(host, ['svc'], (_user, given) => {
      token = given
    })
    const extra = {
      ...database.extra,
      auth_method: 'iam',
      region: 'eu-west-1',
      aws_access_key_id: 'AKIAGIVEN',
      aws_secret_access_key: AWS_SECRET,
    }
    const to = { type: 'postgres', host, port: database.server.port, database: 'postgres', login: 'svc' }
    await assertHidden({ ...to, extra }, [AWS_SECRET, 'X-Amz-Signature='])
    assert.match(token, /X-Amz-Signature=/)
  })

  test('azure_ad: the token and the secret of the application', async () => {
    await using provider = await startOpenIdProvider({ app: { secret: CLIENT_SECRET } })
    await using database = await startTokenDatabase('db.example.com', ['svc'], () => undefined)
    await assertHidden(
      {
        type: 'postgres',
        host: 'db.example.com',
        port: database.server.port,
        database: 'postgres',
        login: 'svc',
        extra: { ...database.extra, ...azure(provider) },
      },
      [CLIENT_SECRET, JWT],
    )
  })
})

/** How every token of Entra begins: `{"alg":`, or `{"typ":`, in base64url. */
const JWT = 'eyJhbGciOi'

const azure = (provider: OpenIdProvider): object => ({
  auth_method: 'azure_ad',
  client_id: 'app',
  client_secret: CLIENT_SECRET,
  tenant_id: provider.tenant,
  authority_host: provider.authorityHost,
  disable_instance_discovery: true,
})

describe('Kerberos', () => {
  let realm: KerberosPostgres
  let key: Buffer

  before(async () => {
    realm = stack.use(
      await startKerberosPostgres({
        hba: ['hostgssenc all all 127.0.0.1/32 gss include_realm=0', 'host all all 127.0.0.1/32 gss include_realm=0'],
      }),
    )
    // The last entry of a keytab ends with its key, and four bytes of its version (MIT krb5, "Keytab file format").
    key = (await readFile(realm.keytab)).subarray(-20, -4)
  })

  test('PostgreSQL, with and without encryption: the key of the keytab', async () => {
    for (const gssencmode of ['require', 'disable']) {
      await assertHidden(
        {
          type: 'postgres',
          host: 'localhost',
          port: realm.server.port,
          database: 'postgres',
          login: 'alice',
          extra: {
            hostaddr: '127.0.0.1',
            auth_method: 'kerberos',
            principal: 'alice',
            keytab: realm.keytab,
            gssencmode,
          },
        },
        [key],
      )
    }
  })

  test('SQL Server: the key of the keytab', async () => {
    let keytab = ''
    await using server = await startTds({ sspi: { acceptor: () => gssAcceptor(keytab) } })
    const service = `MSSQLSvc/localhost:${server.port}`
    await realm.kdc.addPrincipal(service)
    keytab = await realm.kdc.keytab(service)
    for (const gss_mechanism of ['krb5', 'spnego']) {
      const extra = { auth_method: 'kerberos', principal: 'alice', keytab: realm.keytab, gss_mechanism }
      await assertHidden(toTds(server, extra), [key])
    }
  })
})

let behind: PostgresServer | undefined

async function startTds(options: Partial<TdsServerOptions> = {}): Promise<TdsServer> {
  behind ??= stack.use(await startPostgres())
  return startTdsServer({ postgres: behind, tls: certificate, logins: { sa: PASSWORD }, ...options })
}

const toTds = (server: TdsServer, extra: object, more: object = {}): Connection => ({
  type: 'mssql',
  host: 'localhost',
  port: server.port,
  database: 'master',
  ...more,
  extra: { ca_file: caFile, ...extra },
})

describe('SQL Server', () => {
  test('sql_auth: under each encrypt, from a file, and refused', async () => {
    await using server = await startTds({ strictToo: true })
    const login = { login: 'sa', password: PASSWORD }
    for (const encrypt of ['true', 'false', 'strict']) {
      await assertHidden(toTds(server, { encrypt }, login), [PASSWORD])
    }
    const password_file = join(folder, 'sa.txt')
    await writeFile(password_file, PASSWORD, { mode: 0o600 })
    await assertHidden(toTds(server, { password_file }, { login: 'sa' }), [PASSWORD])
    await assertHidden(toTds(server, {}, { ...login, password: `${PASSWORD}!` }), [PASSWORD], { fails: true })
  })

  test('sql_auth: sent on by a server that has heard the password', async () => {
    await using target = await startTds()
    await using gateway = await startTds({ routing: { server: 'localhost', port: target.port } })
    await assertHidden(toTds(gateway, {}, { login: 'sa', password: PASSWORD }), [PASSWORD])
  })

  test('sql_auth: through a proxy that has a password too', async () => {
    await using server = await startTds()
    await using proxy = await startProxyDouble({ hosts: { localhost: '127.0.0.1' } })
    const url = `http://me:${PROXY_PASSWORD}@127.0.0.1:${proxy.port}`
    const secrets = [PASSWORD, PROXY_PASSWORD, `me:${PROXY_PASSWORD}`]
    await assertHidden(toTds(server, { proxy: url }, { login: 'sa', password: PASSWORD }), secrets)
  })

  test('ntlm: the password and its hash', async () => {
    const ntHash = md4(Buffer.from(PASSWORD, 'utf16le'))
    await using server = await startTds({
      sspi: { acceptor: () => ntlmAcceptor({ domain: 'CORP', user: 'etl', ntHash }) },
    })
    const login = { login: 'CORP\\etl', password: PASSWORD }
    await assertHidden(toTds(server, { auth_method: 'ntlm' }, login), [PASSWORD, ntHash])
    await assertHidden(toTds(server, { auth_method: 'ntlm' }, { ...login, password: `${PASSWORD}!` }), [PASSWORD], {
      fails: true,
    })
  })

  test('azure_ad: the token and the secret of the application', async () => {
    await using provider = await startOpenIdProvider({ app: { secret: CLIENT_SECRET } })
    const tokens = { keys: provider.keys, issuer: provider.issuer, audience: 'https://database.windows.net' }
    await using server = await startTds({ tokens, fedAuthRequired: true, strictToo: true })
    for (const encrypt of ['true', 'strict']) {
      await assertHidden(toTds(server, { ...azure(provider), encrypt }), [CLIENT_SECRET, JWT])
    }
  })
})

// A record that the walk is not written for fails here, and not by finding nothing.
test('the walk finds a secret that a session holds', async () => {
  await using server = await startTds()
  await using db = await createEngine(
    toTds(server, {}, { login: 'sa', password: PASSWORD }) as Parameters<typeof createEngine>[0],
  )
  await db.pool.use((raw: { config?: { authentication?: { options?: object } } }) => {
    Object.assign(raw.config?.authentication?.options ?? {}, { password: PASSWORD })
    const [first] = findSecrets(raw, [PASSWORD])
    assert.match(String(first), /authentication\.options\.password/)
    return undefined as PoolsmithError | undefined
  })
})
