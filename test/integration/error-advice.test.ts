/** Faults whose errors name the real cause and say what to do, against the real server where one can cause them. */

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, mock, test } from 'node:test'
import type { Credential } from '../../src/credentials/credential.ts'
import { refreshingSource } from '../../src/credentials/refreshing-source.ts'
import { connectSocket } from '../../src/drivers/network/socket.ts'
import { ConfigError, PoolsmithError } from '../../src/errors.ts'
import { createEngine } from '../../src/index.ts'
import { Secret } from '../../src/secret.ts'
import { temporaryFolder } from '../support/folder.ts'
import { createPki } from '../support/pki.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { driverFor, openingError, passwordCredential, tokenCredential } from '../support/postgres-driver.ts'

describe('PostgreSQL refuses', () => {
  let server: PostgresServer
  let folder: Awaited<ReturnType<typeof temporaryFolder>>
  before(async () => {
    folder = await temporaryFolder()
    const pki = await createPki()
    const { cert, key } = await pki.issue({ commonName: 'localhost', ip: ['127.0.0.1'] })
    server = await startPostgres({
      flavor: 'debian',
      tls: { cert, key, ca: pki.ca },
      hba: [
        'hostssl all by_pam 127.0.0.1/32 pam',
        'hostssl all by_token 127.0.0.1/32 password',
        'hostssl all by_cert 127.0.0.1/32 cert',
        'hostssl all all 127.0.0.1/32 scram-sha-256',
      ],
    })
    await server.sql('create role by_pam login; create role by_cert login; create role by_token login')
    const issued = await pki.issue({ commonName: 'somebody', client: true })
    await writeFile(join(folder.path, 'client.crt'), issued.cert)
    await writeFile(join(folder.path, 'client.key'), issued.key, { mode: 0o600 })
  })
  after(async () => {
    await server[Symbol.asyncDispose]()
    await folder[Symbol.asyncDispose]()
  })

  const refusal = (login: string, credential: Credential, extra: Record<string, unknown> = {}) =>
    openingError(
      driverFor({ host: server.host, port: server.port, login }, { sslmode: 'require', ...extra }).driver,
      credential,
    )

  test('a password by PAM: the hint is about PAM, and not about pg_hba.conf', async () => {
    const error = await refusal('by_pam', passwordCredential('wrong'))
    assert.deepEqual([error.code, error.phase, error.transient], ['LOGIN_REFUSED', 'login', false])
    assert.match(error.message, /PAM authentication failed/)
    assert.match(error.hint ?? '', /PAM on the server/)
    assert.doesNotMatch(error.hint ?? '', /pg_hba/)
  })

  test('a client certificate of another name: the hint is about the name, and not about a password', async () => {
    const files = { sslcert: join(folder.path, 'client.crt'), sslkey: join(folder.path, 'client.key') }
    const error = await refusal('by_cert', passwordCredential('x'), files)
    assert.equal(error.code, 'LOGIN_REFUSED')
    assert.match(error.message, /certificate authentication failed/)
    assert.match(error.hint ?? '', /\(CN\)/)
    assert.doesNotMatch(error.hint ?? '', /password/)
  })

  test('a token of IAM: the hint has the four causes', async () => {
    const token = 'db.example.com:5432/?Action=connect&DBUser=by_token&X-Amz-Signature=00'
    const error = await refusal('by_token', tokenCredential(token))
    assert.equal(error.code, 'LOGIN_REFUSED')
    for (const cause of [/GRANT rds_iam TO "by_token"/, /IAM authentication is on/, /rds-db:connect/, /rds_endpoint/]) {
      assert.match(error.hint ?? '', cause)
    }
  })

  test('a token of Entra: the hint has the role, the tenant and the server', async () => {
    const error = await refusal('by_token', tokenCredential('e30.e30.sig'))
    assert.equal(error.code, 'LOGIN_REFUSED')
    for (const cause of [/"by_token"; pgaadauth_create_principal/, /tenant_id/, /Entra authentication is on/]) {
      assert.match(error.hint ?? '', cause)
    }
  })
})

describe('this machine has none left', () => {
  test('of file descriptors: neither the name nor the address is blamed', () => {
    const module = JSON.stringify(new URL('../../src/drivers/network/socket.ts', import.meta.url).href)
    const program = `
      import { openSync } from 'node:fs'
      const { resolveHost, systemLookup, connectSocket } = await import(${module})
      const signal = new AbortController().signal
      try { for (;;) openSync('/dev/null', 'r') } catch {}
      const told = []
      for (const work of [
        () => resolveHost('db.example.test', systemLookup, signal),
        () => connectSocket({ kind: 'tcp', address: '127.0.0.1', port: 9 }, { signal }),
      ]) await work().catch((error) => told.push(error.code + ' ' + error.phase + ' ' + /file descriptor/.test(error.message)))
      console.log(told.join('\\n'))
    `
    const shell = `ulimit -n 80; exec "$0" --input-type=module -e "$1"`
    const { stdout, stderr } = spawnSync('sh', ['-c', shell, process.execPath, program], { encoding: 'utf8' })
    assert.equal(stdout.trim(), 'CONNECT_FAILED dns true\nCONNECT_FAILED connect true', stderr)
  })

  test('of local ports', async (t) => {
    const fault = Object.assign(new Error('connect EADDRNOTAVAIL'), { code: 'EADDRNOTAVAIL' })
    mock.method(Socket.prototype, 'connect', function (this: Socket) {
      process.nextTick(() => this.destroy(fault))
      return this
    })
    t.after(() => mock.restoreAll())
    const signal = AbortSignal.timeout(10_000)
    await assert.rejects(connectSocket({ kind: 'tcp', address: '192.0.2.1', port: 5432 }, { signal }), {
      code: 'CONNECT_FAILED',
      transient: true,
      message: /no local port left/,
    })
    await assert.rejects(connectSocket({ kind: 'tcp', address: '2001:db8::1', port: 5432 }, { signal }), {
      code: 'CONNECT_UNREACHABLE',
    })
  })
})

describe('a strategy that returns', () => {
  const good = { kind: 'token', identity: 'x', token: new Secret('t0psecret'), issuedAt: 0 }
  const RUBBISH: readonly (readonly [what: string, value: unknown, problem: RegExp])[] = [
    ['nothing', undefined, /type undefined/],
    ['null', null, /null/],
    ['a text', 't0psecret', /type string/],
    ['no kind', { token: 't0psecret' }, /kind is none of password, token/],
    ['another kind', { ...good, kind: 'constructor' }, /kind is none of/],
    ['no identity', { ...good, identity: undefined }, /identity is not a text/],
    ['a plain text as token', { ...good, token: 't0psecret' }, /token is not a Secret/],
    ['no token', { ...good, token: undefined }, /token is not a Secret/],
    ['an empty token', { ...good, token: new Secret('') }, /token is empty/],
    ['a line break', { ...good, token: new Secret('t0psecret\r\nX: y') }, /control characters/],
    ['a number as token', { ...good, token: new Secret(7 as unknown as string) }, /holds no text/],
    ['a Date as end', { ...good, expiresAt: new Date() }, /expiresAt is not a number/],
    ['no number as end', { ...good, expiresAt: Number.NaN }, /expiresAt is not a number/],
    ['a text as begin', { ...good, issuedAt: '2026-01-01' }, /issuedAt is not a number/],
    ['a NUL in a password', { ...good, kind: 'password', password: new Secret('t0psecret\0') }, /NUL/],
  ]
  for (const [what, value, problem] of RUBBISH) {
    test(`${what} gets CREDENTIAL_INVALID`, async (t) => {
      const source = refreshingSource({ fetch: async () => value as Credential })
      t.after(() => source.close())
      await assert.rejects(source.get(), (error) => {
        assert.ok(error instanceof PoolsmithError)
        assert.deepEqual([error.code, error.phase, error.transient], ['CREDENTIAL_INVALID', 'credential', false])
        assert.match(error.message, problem)
        assert.ok(!JSON.stringify(error).includes('t0psecret'))
        return true
      })
    })
  }
})

const RECORDS: readonly (readonly [
  what: string,
  record: Parameters<typeof createEngine>[0],
  path: string,
  advice: RegExp,
])[] = [
  [
    'a port behind the last of two hosts',
    'postgres://etl@h1,h2:5433/db',
    'port',
    /libpq takes a port behind the last host for that one.*write a port behind each host/,
  ],
  ['fewer ports than hosts', 'host=h1,h2,h3 port=1,2 user=etl', 'port', /names 2 ports for 3 hosts; write one for all/],
  ['two ports for one host', { type: 'postgres', host: 'h1', port: '1,2' }, 'port', /2 ports for one host/],
  ['a list of nothing', { type: 'postgres', host: ' , ' }, 'host', /the first of the list: is empty/],
  ['a Unix socket in a list', { type: 'postgres', host: '/run,h2' }, 'host', /Unix socket, which stands alone/],
  ['the same host twice', { type: 'postgres', host: 'h1,H1', login: 'x' }, 'host', /the same host and port twice/],
  ['a port behind a comma', { type: 'mssql', host: 'h1,1444' }, 'host', /the second of the list: is a number: a port/],
  ['an instance in a list', { type: 'mssql', host: 'h1\\A,h2\\A' }, 'host', /holds an instance; write instance_name/],
  ['a port behind the last of two servers', 'mssql://x@h1,h2:1444/d', 'port', /write a port behind each host/],
  ['the same server twice', { type: 'mssql', host: 'h1,H1', login: 'x' }, 'host', /the same host and port twice/],
  [
    'one principal for two servers',
    { type: 'mssql', host: 'h1,h2', extra: { auth_method: 'kerberos', mssql_spn: 'MSSQLSvc/h1' } },
    'extra.mssql_spn',
    /names one server, and host lists several; leave it out/,
  ],
  [
    'a partner beside a list',
    { type: 'mssql', host: 'h1,h2', database: 'd', extra: { failover_partner: 'h3' } },
    'extra.failover_partner',
    /write the partner into the list/,
  ],
  [
    'a partner without a database',
    { type: 'mssql', host: 'h1', extra: { failover_partner: 'h2' } },
    'extra.failover_partner',
    /needs a database/,
  ],
  [
    'a partner beside MultiSubnetFailover',
    'Server=h1;Failover Partner=h2;Database=d;MultiSubnetFailover=True',
    'extra.failover_partner',
    /cannot stand beside multi_subnet_failover/,
  ],
  [
    'a partner for readers',
    'jdbc:sqlserver://h1;failoverPartner=h2;databaseName=d;applicationIntent=ReadOnly',
    'extra.failover_partner',
    /cannot stand beside application_intent=ReadOnly/,
  ],
  [
    'a list of addresses of another length',
    { type: 'postgres', host: 'h1,h2', extra: { hostaddr: '10.0.0.1' } },
    'extra.hostaddr',
    /names 1 address for 2 hosts; write as many/,
  ],
  [
    'one principal for two hosts',
    { type: 'postgres', host: 'h1,h2', extra: { krbspn: 'postgres/h1' } },
    'extra.krbspn',
    /names one server, and host lists several; leave it out/,
  ],
  [
    'one endpoint of RDS for two hosts',
    {
      type: 'postgres',
      host: 'h1,h2',
      login: 'x',
      extra: { auth_method: 'iam', region: 'eu-west-1', rds_endpoint: 'h1' },
    },
    'extra.rds_endpoint',
    /names one server, and host lists several; leave it out/,
  ],
  [
    'a file with a password for each host',
    { type: 'postgres', host: 'h1,h2', login: 'x', extra: { passfile: '/x' } },
    'extra.passfile',
    /holds a password for each host.*write password_file/,
  ],
  ["Airflow's iam", { type: 'postgres', host: 'h', login: 'x', extra: { iam: true } }, 'extra.iam', /auth_method=iam/],
  [
    "Airflow's aws_conn_id",
    { type: 'postgres', host: 'h', login: 'x', extra: { aws_conn_id: 'aws' } },
    'extra.aws_conn_id',
    /aws_profile/,
  ],
  [
    'a Windows account as a SQL login',
    { type: 'mssql', host: 'h', login: 'CORP\\etl', password: 'x' },
    'login',
    /auth_method=kerberos.*auth_method=ntlm/,
  ],
]
for (const [what, record, path, advice] of RECORDS) {
  test(`${what}: the error says what to write`, async () => {
    await assert.rejects(createEngine(record), (error) => {
      assert.ok(error instanceof ConfigError, String(error))
      const found = error.problems.find((problem) => problem.path === path)
      assert.match(found?.message ?? JSON.stringify(error.problems), advice)
      return true
    })
  })
}
