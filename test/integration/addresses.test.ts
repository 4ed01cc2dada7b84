/** A host with several addresses of which one is dead: behind a pool, for both databases. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { Credential } from '../../src/credentials/credential.ts'
import { staticSource } from '../../src/credentials/static-source.ts'
import type { Driver } from '../../src/drivers/driver.ts'
import { PoolsmithError } from '../../src/errors.ts'
import { EventHub } from '../../src/pool/events.ts'
import { ConnectionPool } from '../../src/pool/pool.ts'
import { type FakePostgres, startFakePostgres } from '../support/fake-postgres.ts'
import { createPki } from '../support/pki.ts'
import { startPostgres } from '../support/postgres.ts'
import { driverFor, passwordCredential } from '../support/postgres-driver.ts'
import { startSilentAddress } from '../support/silent-address.ts'
import { password, testDriver } from '../support/tds/driver.ts'
import { startTdsServer } from '../support/tds/server.ts'

interface Side {
  readonly port: number
  readonly credential: Credential
  driver(addresses: readonly string[], extra?: Record<string, unknown>): Driver<object>
}

const resources = new AsyncDisposableStack()
after(() => resources.disposeAsync())
const sides: Record<string, Side> = {}

before(async () => {
  const postgres = resources.use(await startPostgres())
  const certificate = await (await createPki()).issue({ commonName: 'localhost', dns: ['localhost'] })
  const sqlserver = resources.use(await startTdsServer({ postgres, logins: { sa: 'pw' }, tls: certificate }))
  sides.PostgreSQL = {
    port: postgres.port,
    credential: passwordCredential(postgres.superuserPassword),
    driver: (addresses, extra) =>
      driverFor(
        { host: 'db.example.test', port: postgres.port, login: postgres.superuser, database: 'postgres' },
        { sslmode: 'disable', ...extra },
        { lookup: async () => addresses },
      ).driver as Driver<object>,
  }
  sides['SQL Server'] = {
    port: sqlserver.port,
    credential: password('sa', 'pw'),
    driver: (addresses, extra) =>
      testDriver(
        { host: 'localhost', port: sqlserver.port },
        { trust_server_certificate: true, ...extra },
        { lookup: async () => addresses },
      ).driver as Driver<object>,
  }
})

const poolOf = ({ credential }: Side, driver: Driver<object>, poolTimeout: number): ConnectionPool<object> =>
  new ConnectionPool({
    driver,
    source: staticSource(credential),
    options: { pool_size: 5, pool_timeout: poolTimeout },
    events: new EventHub(),
  })

for (const name of ['PostgreSQL', 'SQL Server']) {
  describe(name, () => {
    test('an address that drops packets costs a fraction of a second, once', async () => {
      const side = sides[name] as Side
      await using _silent = await startSilentAddress('127.0.0.2', side.port)
      const driver = side.driver(['127.0.0.2', '127.0.0.1'])
      const begin = performance.now()
      await using pool = poolOf(side, driver, 10)
      const raw = await pool.acquire().promise
      const took = performance.now() - begin
      assert.equal(driver.info(raw).peer, `127.0.0.1:${side.port}`)
      assert.ok(took < 5000, `${took} ms`)
      const others = await Promise.all([1, 2, 3].map(() => pool.acquire().promise))
      for (const other of others) assert.ok((driver.info(other).timings.connect ?? 0) < 240, 'remembered')
      for (const each of [raw, ...others]) pool.release(each)
    })

    test('an address that accepts and is silent leaves time for the next one', async () => {
      const side = sides[name] as Side
      await using frozen: FakePostgres = await startFakePostgres(() => undefined, {
        host: '127.0.0.3',
        port: side.port,
      })
      const driver = side.driver(['127.0.0.3', '127.0.0.1'], { connect_timeout: 60 })
      await using pool = poolOf(side, driver, 4)
      const raw = await pool.acquire().promise
      assert.equal(driver.info(raw).peer, `127.0.0.1:${side.port}`)
      const other = await pool.acquire().promise
      assert.equal(frozen.accepted(), 1, 'the second session did not try it')
      pool.release(raw)
      pool.release(other)
      await frozen.deserted()
    })

    test('where no address answers the error comes within the limit and says so', async () => {
      const side = sides[name] as Side
      await using _silent = await startSilentAddress('127.0.0.4', side.port)
      await using pool = poolOf(side, side.driver(['127.0.0.4', '127.0.0.5'], { connect_timeout: 1 }), 10)
      const error = await pool.acquire().promise.then(
        () => assert.fail('opened'),
        (thrown: unknown) => thrown,
      )
      assert.ok(error instanceof PoolsmithError)
      assert.deepEqual([error.code, error.phase], ['CONNECT_TIMEOUT', 'connect'])
    })
  })
}
