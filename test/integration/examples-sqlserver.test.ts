/** The examples for SQL Server, run as their first lines say, against the TDS server test double. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { temporaryFolder } from '../support/folder.ts'
import { gssAcceptor } from '../support/gss-acceptor.ts'
import { startKdc } from '../support/kdc.ts'
import { startOpenIdProvider } from '../support/openid-provider.ts'
import { createPki, type IssuedCertificate } from '../support/pki.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import type { TdsServerOptions } from '../support/tds/options.ts'
import { startTdsServer, type TdsServer } from '../support/tds/server.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const PASSWORD = 'correct horse'
const stack = new AsyncDisposableStack()
let postgres: PostgresServer
let certificate: IssuedCertificate
let folder: string

before(async () => {
  folder = stack.use(await temporaryFolder()).path
  postgres = stack.use(await startPostgres())
  const pki = await createPki()
  certificate = await pki.issue({ commonName: 'localhost', dns: ['localhost'] })
  await writeFile(join(folder, 'ca.pem'), pki.ca)
})
after(() => stack.disposeAsync())

const start = (options: Partial<TdsServerOptions> = {}): Promise<TdsServer> =>
  startTdsServer({ postgres, tls: certificate, logins: { etl: PASSWORD }, ...options })

async function runExample(name: string, server: TdsServer, environment: Record<string, string>): Promise<string> {
  const args = ['--import', join(ROOT, 'test', 'support', 'self-import.ts'), join(ROOT, 'examples', name)]
  const place = { DB_HOST: 'localhost', DB_PORT: String(server.port), DB_CA_FILE: join(folder, 'ca.pem') }
  const env = { PATH: process.env.PATH, ...place, ...environment }
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: folder, env, timeout: 60_000 })
  return stdout
}

test('mssql-sql-auth.ts logs in with a password, and streams', async () => {
  await using server = await start()
  const output = await runExample('mssql-sql-auth.ts', server, { DB_USER: 'etl', DB_PASSWORD: PASSWORD })
  assert.match(output, /who: 'etl'/)
  assert.match(output, /\d+ databases/)
})

test('mssql-kerberos.ts logs in by the ticket in the cache, and by a keytab', async () => {
  await using kdc = await startKdc()
  // The acceptor works in this process.
  Object.assign(process.env, kdc.environment)
  await kdc.addPrincipal('alice', { password: 'pw' })
  const KRB5CCNAME = `FILE:${kdc.path('alice')}`
  await kdc.kinit('alice', KRB5CCNAME, { password: 'pw' })
  const clientKeytab = await kdc.keytab('alice')
  let keytab = ''
  await using server = await start({ sspi: { acceptor: () => gssAcceptor(keytab) } })
  const service = `MSSQLSvc/localhost:${server.port}`
  await kdc.addPrincipal(service)
  keytab = await kdc.keytab(service)
  const ways: Record<string, string>[] = [
    { KRB5CCNAME },
    { DB_PRINCIPAL: `alice@${kdc.realm}`, DB_KEYTAB: clientKeytab },
  ]
  for (const how of ways) {
    const output = await runExample('mssql-kerberos.ts', server, { ...kdc.environment, ...how })
    assert.match(output, new RegExp(`who: 'alice@${kdc.realm}'`))
    assert.ok(output.includes(`server: '${service}@${kdc.realm}'`), output)
  }
})

test('mssql-azure-ad.ts logs in with a token', async () => {
  await using provider = await startOpenIdProvider({ app: { secret: PASSWORD } })
  await writeFile(join(folder, 'provider.pem'), provider.ca)
  const tokens = { keys: provider.keys, issuer: provider.issuer, audience: 'https://database.windows.net' }
  await using server = await start({ tokens })
  const output = await runExample('mssql-azure-ad.ts', server, {
    NODE_EXTRA_CA_CERTS: join(folder, 'provider.pem'),
    AZURE_AUTHORITY_HOST: provider.authorityHost,
    AZURE_TENANT_ID: provider.tenant,
    AZURE_CLIENT_ID: 'app',
    AZURE_CLIENT_SECRET: PASSWORD,
  })
  assert.match(output, /who: 'app'/)
})

test('mssql-package.ts queries through the package mssql', async () => {
  await using server = await start()
  const ca = encodeURIComponent(join(folder, 'ca.pem'))
  const uri = `mssql://etl:correct%20horse@localhost:${server.port}/master?ca_file=${ca}`
  const output = await runExample('mssql-package.ts', server, { DB_URI: uri })
  assert.match(output, /sql_auth \[ \{ who: 'etl' \} \]/)
})
