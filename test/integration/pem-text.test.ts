/** CA, certificate and key as text in the record, against PostgreSQL and the TDS double: read as their files are. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { inspect } from 'node:util'
import { describeConnection } from '../../src/connections/describe.ts'
import { PoolsmithError } from '../../src/errors.ts'
import { EVENT_NAMES } from '../../src/events.ts'
import { createEngine } from '../../src/index.ts'
import { poolsmith } from '../support/cli-in-process.ts'
import { findSecrets } from '../support/object-graph.ts'
import { pastedSpellings } from '../support/pasted-pem.ts'
import { createPki, type IssuedCertificate, type Pki } from '../support/pki.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { startTdsServer } from '../support/tds/server.ts'

const PASSWORD = 'Pa55word-of-the-login'

const stack = new AsyncDisposableStack()
let pki: Pki
let issued: IssuedCertificate
let certificate: IssuedCertificate
let server: PostgresServer
/** Pieces of the key that must not be seen. */
let pieces: string[]

before(async () => {
  pki = await createPki()
  certificate = await pki.issue({ commonName: 'localhost', dns: ['localhost'], ip: ['127.0.0.1'] })
  issued = await pki.issue({ commonName: 'certain', client: true })
  pieces = issued.key.split('\n').slice(1, -2)
  server = stack.use(
    await startPostgres({
      tls: { cert: certificate.cert, key: certificate.key, ca: pki.ca },
      hba: ['hostssl all certain 127.0.0.1/32 cert', 'hostssl all all 127.0.0.1/32 scram-sha-256'],
    }),
  )
  await server.sql('create role certain login')
})
after(() => stack.disposeAsync())

const record = (extra: object) => ({
  type: 'postgres',
  host: 'localhost',
  port: server.port,
  database: 'postgres',
  login: 'certain',
  extra: { hostaddr: '127.0.0.1', ...extra },
})

async function refusal(extra: object): Promise<PoolsmithError> {
  const told: unknown[] = []
  try {
    await using db = await createEngine(record(extra), { on: { 'security:warning': (event) => told.push(event) } })
    await db.raw('select 1')
  } catch (error) {
    assert.ok(error instanceof PoolsmithError, inspect(error))
    const shown = [String(error), inspect(error, { depth: 9 }), JSON.stringify(error), inspect(told)].join('\n')
    for (const piece of pieces) assert.ok(!shown.includes(piece), shown)
    return error
  }
  throw new Error('expected a refusal')
}

describe('PostgreSQL', () => {
  test('logs in by a certificate, key and CA in every spelling, by the strategy and by the options alone', async () => {
    const [ca, cert, key] = [pki.ca, issued.cert, issued.key].map(pastedSpellings)
    for (const spelling of Object.keys(ca ?? {})) {
      const extra = { sslrootcert: ca?.[spelling], sslcert: cert?.[spelling], sslkey: key?.[spelling] }
      for (const how of [{ auth_method: 'ssl_cert' }, { sslmode: 'verify-full' }]) {
        await using db = await createEngine(record({ ...extra, ...how }))
        const { rows } = await db.raw('select user, client_dn from pg_stat_ssl where pid = pg_backend_pid()')
        assert.deepEqual(rows, [{ user: 'certain', client_dn: '/CN=certain' }], spelling)
      }
    }
  })

  test('shows nothing of the key: not in the record, in events, on the command line or behind a session', async () => {
    const extra = {
      auth_method: 'ssl_cert',
      sslrootcert: pki.ca,
      sslcert: issued.key + issued.cert,
      sslkey: issued.key,
    }
    const told: unknown[] = []
    const on = Object.fromEntries(EVENT_NAMES.map((name) => [name, (payload: unknown) => told.push([name, payload])]))
    await using db = await createEngine(record(extra), { on })
    await db.pool.use(async (raw) => {
      assert.deepEqual(findSecrets(raw, pieces), [])
      assert.deepEqual(findSecrets(db.pool.infoOf(raw), pieces), [])
    })
    assert.deepEqual(findSecrets(told, pieces), [])
    const json = JSON.stringify(record(extra))
    const shown = [describeConnection(db.connection), inspect(db.connection, { depth: 9 })]
    for (const args of [['check', 'x'], ['check', 'x', '--json'], ['connections']]) {
      const { code, out, log } = await poolsmith(args, { POOLSMITH_CONN_X: json })
      assert.equal(code, 0, out + log)
      shown.push(out, log)
    }
    for (const piece of pieces) assert.ok(!shown.join('\n').includes(piece))
  })

  test('names the option where a text is wrong', async () => {
    const good = { auth_method: 'ssl_cert', sslrootcert: pki.ca, sslcert: issued.cert, sslkey: issued.key }
    const other = await pki.issue({ commonName: 'certain', client: true })
    const old = { notBefore: new Date(0), notAfter: new Date(86_400_000) }
    const expired = await pki.issue({ commonName: 'certain', client: true, ...old })
    const damaged = issued.cert.replace(/\n[^\n]{8}/, '\nAAAAAAAA')
    const cases: [object, string, RegExp][] = [
      [{ sslcert: issued.cert.slice(0, -9) }, 'CONFIG_INVALID', /extra\.sslcert: expected a certificate in PEM form/],
      [{ sslkey: issued.cert }, 'CONFIG_INVALID', /extra\.sslkey: expected a private key in PEM form/],
      [{ sslrootcert: issued.key }, 'CONFIG_INVALID', /extra\.sslrootcert: expected a certificate in PEM form/],
      [{ sslcert: damaged }, 'CERTIFICATE_MALFORMED', /^sslcert holds no certificate/],
      [{ sslkey: other.key }, 'KEY_MISMATCH', /private key sslkey does not belong to the certificate sslcert/],
      [{ sslcert: expired.cert, sslkey: expired.key }, 'CERTIFICATE_EXPIRED', /The client certificate sslcert \(CN=/],
      [{ sslrootcert: damaged }, 'CA_FILE_MALFORMED', /failed: sslrootcert holds no certificate/],
      [{ sslrootcert: (await createPki()).ca }, 'TLS_UNTRUSTED', /certificate/],
      [{ sslcrl: await pki.crl([certificate.serial]) }, 'TLS_CERTIFICATE_REVOKED', /revoked/],
    ]
    for (const [wrong, code, message] of cases) {
      const error = await refusal({ ...good, ...wrong })
      assert.equal(error.code, code, error.message)
      assert.match(error.message, message)
    }
  })
})

describe('SQL Server', () => {
  test('is verified by ca_file or server_certificate as text, in every spelling', async () => {
    await using behind = await startPostgres()
    await using tds = await startTdsServer({ postgres: behind, tls: certificate, logins: { sa: PASSWORD } })
    const to = { type: 'mssql', host: 'localhost', port: tds.port, database: 'master', login: 'sa', password: PASSWORD }
    const spellings = [pastedSpellings(pki.ca), pastedSpellings(certificate.cert)] as const
    for (const spelling of Object.keys(spellings[0])) {
      for (const extra of [{ ca_file: spellings[0][spelling] }, { server_certificate: spellings[1][spelling] }]) {
        await using db = await createEngine({ ...to, extra })
        assert.deepEqual(await db.raw('select 1 as one'), [{ one: 1 }], spelling)
      }
    }
    const { ca } = await createPki()
    await using db = await createEngine({ ...to, extra: { ca_file: ca } })
    await assert.rejects(db.raw('select 1 as one'), { code: 'TLS_UNTRUSTED' })
  })
})
