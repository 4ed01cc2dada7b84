/** The faults of a login to SQL Server, brought about in the TDS double: each is named by itself, and says what to do. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { promisify } from 'node:util'
import type { ErrorCode } from '../../src/errors.ts'
import { createEngine } from '../../src/index.ts'
import { password } from '../support/tds/driver.ts'
import type { TdsServer } from '../support/tds/server.ts'
import { driverFor, failure, sa, sqlServerSetup } from '../support/tds/setup.ts'

const { caFile, start, folder } = await sqlServerSetup()
const run = promisify(execFile)

type Fault = readonly [number: number, state: number, code: ErrorCode, transient: boolean, hint: RegExp]

/** By the numbers and states of sys.messages and of Microsoft Learn, "MSSQLSERVER_18456". */
const FAULTS: Readonly<Record<string, Fault>> = {
  'a login is refused': [18_456, 1, 'LOGIN_REFUSED', false, /^Check login and password\. .*ERRORLOG/],
  'there is no such login': [18_456, 5, 'LOGIN_REFUSED', false, /no such login/],
  'a Windows account with a password': [18_456, 6, 'LOGIN_REFUSED', false, /use Kerberos/],
  'a login is disabled and the password wrong': [18_456, 7, 'LOGIN_REFUSED', false, /disabled/],
  'the password is wrong': [18_456, 8, 'LOGIN_REFUSED', false, /password is wrong/],
  'the password is not valid': [18_456, 9, 'LOGIN_REFUSED', false, /not valid/],
  'an account may not connect': [18_456, 11, 'LOGIN_REFUSED', false, /may not connect to this server/],
  'the service is paused': [18_456, 13, 'SERVER_NOT_READY', true, /paused/],
  'the password must be changed (state)': [18_456, 18, 'LOGIN_PASSWORD_CHANGE', false, /must be changed/],
  'the server shuts down (state)': [18_456, 23, 'SERVER_NOT_READY', true, /shutting down/],
  'the database does not exist (state)': [18_456, 38, 'DATABASE_NOT_FOUND', false, /does not exist/],
  'the default database does not exist': [18_456, 40, 'DATABASE_NOT_FOUND', false, /default database/],
  'Windows and Entra logins only': [18_456, 58, 'LOGIN_REFUSED', false, /Windows and Entra logins only/],
  'the user name is empty': [18_456, 122, 'LOGIN_REFUSED', false, /empty/],
  'the password has expired': [18_487, 1, 'LOGIN_PASSWORD_CHANGE', false, /ALTER LOGIN/],
  'a login is locked': [18_486, 1, 'LOGIN_ROLE_UNUSABLE', false, /UNLOCK/],
  'a login is disabled': [18_470, 1, 'LOGIN_ROLE_UNUSABLE', false, /ENABLE/],
  'the domain is not trusted': [18_452, 1, 'GSS_SERVER_REFUSED', false, /setspn/],
  'the database cannot be opened': [4060, 1, 'DATABASE_NOT_FOUND', false, /user of it/],
  'the login is no user of the database': [916, 2, 'DATABASE_NOT_PERMITTED', false, /CREATE USER/],
  'a replica does not serve now': [983, 1, 'SERVER_NOT_READY', true, /availability group/],
  'a replica for readers': [978, 1, 'DATABASE_NOT_PERMITTED', false, /application_intent=ReadOnly/],
  'a replica that takes no readers': [979, 1, 'DATABASE_NOT_PERMITTED', false, /ReadWrite/],
  'a logon trigger': [17_892, 1, 'LOGIN_NOT_ADMITTED', false, /logon trigger/],
  'single-user mode': [18_461, 1, 'SERVER_NOT_READY', true, /administrator/],
  'a server that Azure does not know': [40_532, 1, 'LOGIN_REFUSED', false, /Azure knows no such server/],
  'Windows logins on Azure SQL': [40_607, 1, 'AUTH_METHOD_UNSUPPORTED', false, /auth_method=azure_ad/],
  'the firewall of Azure SQL': [40_615, 1, 'LOGIN_NOT_ADMITTED', false, /firewall/],
  'no public access to Azure SQL': [47_073, 1, 'LOGIN_NOT_ADMITTED', false, /private endpoint/],
  'an Azure SQL database that wakes up': [40_613, 1, 'SERVER_THROTTLED', true, /serverless.*pool_timeout/],
  'a busy Azure SQL': [40_501, 1, 'SERVER_THROTTLED', true, /service tier/],
  'the server is full': [17_809, 1, 'SERVER_FULL', true, /pool_size/],
  'the server starts up': [17_142, 1, 'SERVER_NOT_READY', true, /starts up/],
}

describe('each fault is named and says what to do:', () => {
  let server: TdsServer
  const told = new Map<string, string>()
  before(async () => {
    server = await start()
  })
  after(() => server[Symbol.asyncDispose]())

  for (const [name, [number, state, code, transient, hint]] of Object.entries(FAULTS)) {
    test(name, async () => {
      server.faults.add({ at: 'login', fault: { do: 'refuse', number, state, message: 'As the server says.' } })
      // A busy server is asked again until the limit.
      const connect_timeout = code === 'SERVER_THROTTLED' ? 4 : 60
      const error = await failure(driverFor(server, caFile, { connect_timeout }).driver, sa(), 60_000)
      server.faults.clear()
      assert.deepEqual([error.code, error.phase, error.transient], [code, 'login', transient], error.message)
      assert.match(error.message, /As the server says\./)
      assert.match(error.hint ?? '', hint)
      assert.deepEqual([error.details.number, error.details.state], [number, state])
      told.set(name, `${error.code} ${error.hint}`)
    })
  }

  test('no two of them are told alike', () => {
    const names = new Map([...told].map(([name, text]) => [text, name]))
    for (const [name, text] of told) assert.equal(names.get(text), name, text)
  })
})

test('a certificate that the server signed itself: server_certificate comes before trust_server_certificate', async () => {
  const [keyFile, certFile] = [join(folder.path, 'self.key'), join(folder.path, 'self.pem')]
  const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2']
  const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost']
  await run('openssl', [...request, ...names, '-keyout', keyFile, '-out', certFile])
  const tls = { cert: await readFile(certFile, 'utf8'), key: await readFile(keyFile, 'utf8') }
  await using server = await start({ tls })
  const error = await failure(driverFor(server, caFile).driver, sa(), 60_000)
  assert.deepEqual([error.code, error.phase], ['TLS_UNTRUSTED', 'tls'])
  const hint = error.hint ?? ''
  const [own, any] = [hint.indexOf('server_certificate to a copy'), hint.indexOf('trust_server_certificate=true')]
  assert.ok(own !== -1 && own < any, hint)
  // The advice of the hint helps.
  const { driver } = driverFor(server, caFile, { ca_file: undefined, server_certificate: certFile })
  assert.equal((await failure(driver, password('sa', 'wrong'), 60_000)).code, 'LOGIN_REFUSED')
})

test('an Azure SQL database that wakes up costs a wait within pool_timeout, and no failed statement', async () => {
  await using server = await start()
  server.faults.add({ at: 'login', fault: { do: 'refuse', number: 40_613, message: 'Not available.' }, times: 3 })
  const record = { type: 'mssql', host: 'localhost', port: server.port, database: 'master', login: 'sa' }
  await using db = await createEngine(
    { ...record, password: 'Pa55word!ü', extra: { ca_file: caFile } },
    { pool_timeout: 90 },
  )
  assert.deepEqual(await db.raw('select 1 as one'), [{ one: 1 }])
  assert.equal(server.journal.logins.length, 4)
})
