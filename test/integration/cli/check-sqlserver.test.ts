/** `poolsmith check` on SQL Server, against the TDS server test double: what it shows, and every way to fail. */

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { PHASE_EXIT_CODES } from '../../../src/cli/exit-codes.ts'
import type { ErrorCode, Phase } from '../../../src/errors.ts'
import { runCli } from '../../support/cli.ts'
import { temporaryFolder } from '../../support/folder.ts'
import { gssAcceptor } from '../../support/gss-acceptor.ts'
import { startKdc } from '../../support/kdc.ts'
import { type OpenIdProvider, startOpenIdProvider } from '../../support/openid-provider.ts'
import { createPki, type IssuedCertificate } from '../../support/pki.ts'
import { type PostgresServer, startPostgres } from '../../support/postgres.ts'
import type { TdsServerOptions } from '../../support/tds/options.ts'
import { startTdsServer, type TdsServer } from '../../support/tds/server.ts'

const PASSWORD = 'hunter2-and-more'
const stack = new AsyncDisposableStack()
let postgres: PostgresServer
let certificate: IssuedCertificate
let provider: OpenIdProvider
const files = { ca: '', providerCa: '' }

before(async () => {
  const folder = stack.use(await temporaryFolder())
  postgres = stack.use(await startPostgres())
  provider = stack.use(await startOpenIdProvider({ app: { secret: PASSWORD } }))
  const pki = await createPki()
  certificate = await pki.issue({ commonName: 'localhost', dns: ['localhost'] })
  files.ca = join(folder.path, 'ca.pem')
  files.providerCa = join(folder.path, 'provider.pem')
  await writeFile(files.ca, pki.ca)
  await writeFile(files.providerCa, provider.ca)
})
after(() => stack.disposeAsync())

const start = (options: Partial<TdsServerOptions> = {}): Promise<TdsServer> =>
  startTdsServer({
    postgres,
    tls: certificate,
    logins: { sa: PASSWORD, new: { password: PASSWORD, mustChange: true }, old: { password: PASSWORD, expired: true } },
    ...options,
  })

/** Checks a record that is kept in the environment under an id, as a user's is. */
function check(record: Readonly<Record<string, unknown>>, ...args: readonly string[]) {
  const { extra, ...rest } = record
  const connection = {
    type: 'mssql',
    host: 'localhost',
    login: 'sa',
    password: PASSWORD,
    database: 'master',
    ...rest,
    extra: { ca_file: files.ca, ...(extra as object) },
  }
  return runCli(['check', 'sales', ...args], {
    environment: { POOLSMITH_CONN_SALES: JSON.stringify(connection), NODE_EXTRA_CA_CERTS: files.providerCa },
  })
}

test('shows server, strategy, identity, encryption and times, and never the password', async () => {
  await using server = await start()
  const { code, stdout, stderr } = await check({
    port: server.port,
    extra: { driver: 'ODBC Driver 18 for SQL Server' },
  })
  assert.equal(code, 0, stdout + stderr)
  assert.match(
    stdout,
    new RegExp(`server +SQL Server 16\\.0\\.1000 at 127\\.0\\.0\\.1:${server.port}, database master`),
  )
  assert.match(stdout, /strategy +sql_auth \(by sql\)/)
  assert.match(stdout, /identity +sa\n/)
  assert.match(stdout, /encryption +TLSv1\.2, TLS_\w+, certificate and host name verified/)
  assert.match(stdout, /server certificate +CN=localhost, until /)
  assert.match(stdout, /time +.*tls \d+ ms, login \d+ ms/)
  assert.match(stdout + stderr, /extra\.driver/)
  assert.doesNotMatch(stdout + stderr, /hunter2/)
})

test('shows principal and service of a Kerberos login, as text and as JSON', async () => {
  await using kdc = await startKdc()
  await kdc.addPrincipal('alice', { password: 'pw' })
  const ccache = `FILE:${kdc.path('alice')}`
  await kdc.kinit('alice', ccache, { password: 'pw' })
  let keytab = ''
  await using server = await start({ sspi: { acceptor: () => gssAcceptor(keytab) } })
  const service = `MSSQLSvc/localhost:${server.port}`
  await kdc.addPrincipal(service)
  keytab = await kdc.keytab(service)
  // The acceptor works in this process.
  Object.assign(process.env, kdc.environment)
  const record = JSON.stringify({
    type: 'mssql',
    host: 'localhost',
    port: server.port,
    database: 'master',
    extra: { ca_file: files.ca, ccache, Trusted_Connection: 'yes' },
  })
  const environment = { ...kdc.environment, POOLSMITH_CONN_SALES: record }
  const { code, stdout, stderr } = await runCli(['check', 'sales'], { environment })
  assert.equal(code, 0, stdout + stderr)
  assert.match(stdout, /strategy +kerberos \(by kerberos\)/)
  assert.match(stdout, new RegExp(`identity +alice@${kdc.realm}`))
  assert.ok(stdout.includes(`${service}@${kdc.realm}`), stdout)
  const json = await runCli(['check', 'sales', '--json'], { environment })
  const answer = JSON.parse(json.stdout)
  assert.equal(answer.strategy, 'kerberos')
  assert.ok(JSON.stringify(answer).includes(`${service}@${kdc.realm}`), json.stdout)
})

interface Expected {
  readonly code: ErrorCode
  readonly phase: Phase
  readonly hint: RegExp
  /** Of SQL Server's own error. */
  readonly number?: number
  readonly state?: number
}

async function assertFails(run: ReturnType<typeof check>, { code, phase, hint, number, state }: Expected) {
  const { code: exitCode, stdout } = await run
  const { ok, error, exitCode: told } = JSON.parse(stdout)
  assert.deepEqual([ok, error.code, error.phase], [false, code, phase], stdout)
  assert.deepEqual([exitCode, told], [PHASE_EXIT_CODES[phase], PHASE_EXIT_CODES[phase]])
  assert.match(error.hint, hint)
  if (number !== undefined) assert.deepEqual([error.details.number, error.details.state], [number, state ?? 1])
  assert.doesNotMatch(stdout, /hunter2/)
}

describe('what is wrong is told with its number, state, advice and exit code', () => {
  test('an instance that is not there', async () => {
    await assertFails(check({ extra: { instance_name: 'NOPE' } }, '--json'), {
      code: 'INSTANCE_NOT_FOUND',
      phase: 'connect',
      hint: /UDP 1434/,
    })
  })

  test('a certificate for another host', async () => {
    await using server = await start()
    await assertFails(check({ host: '127.0.0.1', port: server.port }, '--json'), {
      code: 'TLS_HOSTNAME_MISMATCH',
      phase: 'tls',
      hint: /host_name_in_certificate/,
    })
  })

  test('a certificate of an unknown issuer', async () => {
    await using server = await start()
    await assertFails(check({ port: server.port, extra: { ca_file: files.providerCa } }, '--json'), {
      code: 'TLS_UNTRUSTED',
      phase: 'tls',
      hint: /ca_file/,
    })
  })

  test('a server without encryption', async () => {
    await using server = await start({ encryption: 'not-supported' })
    await assertFails(check({ port: server.port }, '--json'), {
      code: 'TLS_NOT_OFFERED',
      phase: 'tls',
      hint: /certificate/,
    })
  })

  test('a token for another audience', async () => {
    const tokens = { keys: provider.keys, issuer: provider.issuer, audience: 'https://database.windows.net' }
    await using server = await start({ tokens })
    const extra = {
      auth_method: 'azure_ad',
      tenant_id: provider.tenant,
      authority_host: provider.authorityHost,
      disable_instance_discovery: true,
      client_id: 'app',
      client_secret: PASSWORD,
      scope: 'https://ossrdbms-aad.database.windows.net/.default',
    }
    await assertFails(check({ port: server.port, login: undefined, password: undefined, extra }, '--json'), {
      code: 'TOKEN_AUDIENCE',
      phase: 'login',
      hint: /ossrdbms-aad.*scope/s,
      number: 18456,
    })
  })

  test('a password that must be changed, or is over', async () => {
    await using server = await start()
    for (const [login, number] of [
      ['new', 18488],
      ['old', 18487],
    ] as const) {
      await assertFails(check({ port: server.port, login }, '--json'), {
        code: 'LOGIN_PASSWORD_CHANGE',
        phase: 'login',
        hint: /ALTER LOGIN/,
        number,
      })
    }
  })

  test('a database that does not exist', async () => {
    await using server = await start()
    await assertFails(check({ port: server.port, database: 'nowhere' }, '--json'), {
      code: 'DATABASE_NOT_FOUND',
      phase: 'login',
      hint: /database/,
      number: 4060,
    })
  })

  for (const [state, code, hint] of [
    [5, 'LOGIN_REFUSED', /no such login/],
    [7, 'LOGIN_REFUSED', /disabled/],
    [8, 'LOGIN_REFUSED', /password is wrong/],
    [18, 'LOGIN_PASSWORD_CHANGE', /must be changed/],
    [38, 'DATABASE_NOT_FOUND', /database does not exist/],
    [58, 'LOGIN_REFUSED', /Windows and Entra/],
  ] as const) {
    test(`a refused login, state ${state}`, async () => {
      await using server = await start()
      server.faults.add({ at: 'login', fault: { do: 'refuse', number: 18456, state, message: 'Login failed.' } })
      await assertFails(check({ port: server.port }, '--json'), {
        code,
        phase: 'login',
        hint,
        number: 18456,
        state,
      })
    })
  }

  for (const number of [40501, 40613, 49918, 49919, 49920]) {
    test(`an Azure SQL that is busy (${number}) is tried again, until the time is over`, async () => {
      await using server = await start()
      server.faults.add({ at: 'login', fault: { do: 'refuse', number, message: 'Come back later.' } })
      await assertFails(check({ port: server.port, extra: { pool_timeout: 6 } }, '--json'), {
        code: 'SERVER_THROTTLED',
        phase: 'login',
        hint: number === 40613 ? /wakes up with this login/ : /later/,
        number,
      })
      assert.ok(server.journal.logins.length > 1)
    })
  }
})
