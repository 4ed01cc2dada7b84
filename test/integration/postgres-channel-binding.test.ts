/** A man in the middle of TLS, who is detected by a real server through the channel binding of a SCRAM login. */

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { createPki, type IssuedCertificate } from '../support/pki.ts'
import { type PostgresServer, psql, startPostgres } from '../support/postgres.ts'
import { driverFor, openingError, openSession, passwordCredential } from '../support/postgres-driver.ts'
import { ask, postgresPool } from '../support/postgres-pool.ts'
import { startTlsMiddle } from '../support/tls-middle.ts'

let servers: readonly PostgresServer[] = []
let forged: IssuedCertificate

before(async () => {
  const genuine = await createPki()
  const other = await createPki('another CA')
  forged = await other.issue({ commonName: 'localhost', dns: ['localhost'] })
  const tls = await genuine.issue({ commonName: 'localhost', dns: ['localhost'] })
  servers = await Promise.all([startPostgres({ tls }), startPostgres({ tls, flavor: 'debian' })])
})
after(async () => {
  for (const server of servers) await server[Symbol.asyncDispose]()
})

/** The actions of the man in the middle. */
const DEEDS: Readonly<Record<string, (chunk: Buffer) => Buffer>> = {
  'passes everything on': (chunk) => chunk,
  'takes the offer of channel binding out': (chunk) => {
    const text = chunk.toString('latin1')
    // Authentication request, its length, SASL: the two mechanisms become one.
    return text.includes('SCRAM-SHA-256-PLUS\0')
      ? Buffer.from('R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0', 'latin1')
      : chunk
  },
}

for (const [deed, toClient] of Object.entries(DEEDS)) {
  for (const sslmode of ['prefer', 'require']) {
    test(`a man in the middle who ${deed} is reported as a failed channel binding (sslmode=${sslmode})`, async () => {
      for (const server of servers) {
        await using middle = await startTlsMiddle(server.port, { certificate: forged, toClient })
        const target = { host: '127.0.0.1', port: middle.port, login: server.superuser, database: 'postgres' }
        const { driver } = driverFor(target, { sslmode })
        const error = await openingError(driver, passwordCredential(server.superuserPassword))
        assert.deepEqual([error.code, error.phase, error.transient], ['CHANNEL_BINDING_FAILED', 'login', false])
        assert.match(error.hint ?? '', /between/)
        // Also under `prefer` nothing is tried without TLS: psql would log in there without noticing the attacker.
        assert.equal(middle.accepted(), 1)

        const words = `host=127.0.0.1 port=${middle.port} user=${server.superuser} dbname=postgres sslmode=require`
        const oracle = await psql([words, '-c', 'select 1'], { PGPASSWORD: server.superuserPassword })
        assert.match(oracle.stderr, /channel binding/)
      }
    })
  }
}

test('a failed channel binding fetches no new credential', async () => {
  for (const server of servers) {
    await using middle = await startTlsMiddle(server.port, { certificate: forged })
    const seen = { fetches: 0, rejected: 0 }
    const source = {
      current: () => undefined,
      get: async () => {
        seen.fetches++
        return passwordCredential(server.superuserPassword)
      },
      reject: () => {
        seen.rejected++
        return true
      },
      onChange: () => () => undefined,
      close: async () => undefined,
      failure: undefined,
    }
    const target = {
      host: '127.0.0.1',
      port: middle.port,
      superuser: server.superuser,
      superuserPassword: '',
    }
    await using pool = postgresPool(target, { pool_timeout: 10 }, { source, driver: { sslmode: 'require' } })
    await assert.rejects(ask(pool, 'select 1'), { code: 'CHANNEL_BINDING_FAILED' })
    assert.deepEqual(seen, { fetches: 1, rejected: 0 })
    assert.equal(middle.accepted(), 1)
  }
})

test('a wrong password is reported as that, and the login is bound without a man in the middle', async () => {
  for (const server of servers) {
    const target = { host: '127.0.0.1', port: server.port, login: server.superuser, database: 'postgres' }
    const { driver } = driverFor(target, { sslmode: 'require' })
    const error = await openingError(driver, passwordCredential('wrong'))
    assert.equal(error.code, 'LOGIN_REFUSED')
    await using session = await openSession(driver, passwordCredential(server.superuserPassword))
    assert.equal(driver.info(session.client).authentication, 'scram-sha-256-plus')
  }
})
