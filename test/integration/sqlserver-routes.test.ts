/** Ways to find the server in the SQL Server driver: instances, routing, several addresses. */

import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { PoolsmithError } from '../../src/errors.ts'
import { runStock } from '../support/tds/clients.ts'
import { open, testDriver } from '../support/tds/driver.ts'
import type { TdsServer } from '../support/tds/server.ts'
import { driverFor as driverTrusting, failure, sa, sqlServerSetup } from '../support/tds/setup.ts'

const { caFile, pki, start } = await sqlServerSetup()
const driverFor = (server: TdsServer, extra = {}) => driverTrusting(server, caFile, extra)

describe('finding the server', () => {
  test('by instance, through the Browser', async () => {
    await using server = await start({ instance: 'SALES' })
    const browser = createSocket('udp4')
    browser.bind(0, '127.0.0.1')
    await once(browser, 'listening')
    const questions: string[] = []
    browser.on('message', (message, from) => {
      const name = message.toString('latin1', 1, message.length - 1)
      questions.push(name)
      // UDP loses the first question.
      if (questions.length === 1) return
      const tell = (text: string): void => {
        const head = Buffer.from([5, 0, 0])
        head.writeUInt16LE(text.length, 1)
        browser.send(Buffer.concat([head, Buffer.from(text)]), from.port, from.address)
      }
      // An answer to another question does not count; the right one may follow.
      tell('ServerName;HOST;InstanceName;PAYROLL;IsClustered;No;Version;16.0.1000.6;tcp;1;;')
      tell('')
      const ways: Readonly<Record<string, string>> = {
        sales: `tcp;${server.port}`,
        pipes: 'np;\\\\HOST\\pipe\\sql\\query',
      }
      const way = ways[name.toLowerCase()]
      if (way === undefined) return
      tell(`ServerName;HOST;InstanceName;${name.toUpperCase()};IsClustered;No;Version;16.0.1000.6;${way};;`)
    })
    try {
      const context = { browserPort: browser.address().port, lookup: async () => ['127.0.0.1'] }
      const named = testDriver({ login: 'sa' }, { ca_file: caFile, instance_name: 'sales' }, context)
      const { raw } = await open(named.driver, sa())
      assert.equal(named.driver.info(raw).peer, `127.0.0.1:${server.port}`)
      assert.equal(named.driver.info(raw).place?.host, 'localhost\\sales')
      await named.driver.close(raw)
      assert.deepEqual(questions, ['sales', 'sales'])
      const wrong = testDriver({}, { instance_name: 'OTHER', connect_timeout: 0.6 }, context)
      const error = await failure(wrong.driver)
      assert.deepEqual([error.code, error.phase], ['CONNECT_TIMEOUT', 'connect'])
      assert.match(error.hint ?? '', /UDP 1434/)
      const piped = await failure(testDriver({}, { instance_name: 'PIPES' }, context).driver)
      assert.deepEqual([piped.code, piped.phase], ['INSTANCE_NOT_FOUND', 'connect'])
      assert.match(piped.message, /does not listen on TCP/)
    } finally {
      browser.close()
    }
  })

  test('ends within milliseconds of an abort in any phase, without an unhandled rejection', async () => {
    const silent = createSocket('udp4')
    silent.bind(0, '127.0.0.1')
    await once(silent, 'listening')
    const never = (): Promise<never> => new Promise(() => undefined)
    try {
      for (const [extra, context] of [
        [{ instance_name: 'SALES' }, { browserPort: silent.address().port, lookup: async () => ['127.0.0.1'] }],
        [{ instance_name: 'SALES' }, { lookup: never }],
        [{}, { lookup: never }],
      ] as const) {
        for (const millis of [0, 1, 2, 5, 20]) {
          const { driver } = testDriver({ host: 'db.test' }, { ca_file: caFile, ...extra }, context)
          const controller = new AbortController()
          const opening = driver.open(sa(), { signal: controller.signal, enter: () => undefined })
          const ended = assert.rejects(opening, (error: PoolsmithError) => error.code === 'ABORTED')
          if (millis > 0) await sleep(millis)
          const begin = performance.now()
          controller.abort()
          await ended
          assert.ok(performance.now() - begin < 500)
        }
        const { driver } = testDriver({ host: 'db.test' }, { ca_file: caFile, ...extra }, context)
        const opening = driver.open(sa(), { signal: AbortSignal.abort(), enter: () => undefined })
        await assert.rejects(opening, (error: PoolsmithError) => error.code === 'ABORTED')
      }
      // An unhandled rejection is reported after a turn of the event loop, and fails the test.
      await sleep(50)
    } finally {
      silent.close()
    }
  })

  test('follows routing, and verifies the name of the new server', async () => {
    await using target = await start({ encryption: 'required' })
    await using gateway = await start({ routing: { server: 'localhost', port: target.port } })
    const { driver } = driverFor(gateway)
    const { raw } = await open(driver, sa())
    assert.equal(driver.info(raw).peer, `127.0.0.1:${target.port}`)
    assert.equal(gateway.journal.logins.length, 1)
    await driver.close(raw)

    await using strict = await start({ encryption: 'strict' })
    await using lane = await start({ encryption: 'strict', routing: { server: 'localhost', port: strict.port } })
    const second = driverFor(lane, { encrypt: 'strict' })
    const { raw: other } = await open(second.driver, sa())
    assert.equal(second.driver.info(other).peer, `127.0.0.1:${strict.port}`)
    await second.driver.close(other)
  })

  test('refuses routing that server_routing does not allow, and sends nothing there', async () => {
    const names = ['db1.corp.test', 'db2.corp.test', 'db.other.test']
    const tls = await pki.issue({ commonName: 'any', dns: names })
    const lookup = async (): Promise<readonly string[]> => ['127.0.0.1']
    await using target = await start({ tls })
    for (const [server, server_routing, isAllowed] of [
      ['db.other.test', 'any', true],
      ['db2.corp.test', 'domain', true],
      ['db.other.test', 'domain', false],
      ['db2.corp.test', 'none', false],
    ] as const) {
      for (const encrypt of ['true', 'false']) {
        await using gateway = await start({ tls, routing: { server, port: target.port } })
        const { driver } = testDriver(
          { host: 'db1.corp.test', port: gateway.port },
          { ca_file: caFile, server_routing, encrypt },
          { lookup },
        )
        const before = target.journal.logins.length
        if (isAllowed) await driver.close((await open(driver, sa())).raw)
        else {
          const error = await failure(driver)
          assert.deepEqual([error.code, error.phase], ['ROUTING_REFUSED', 'login'])
          assert.match(error.message, new RegExp(`${server}:${target.port}`))
        }
        assert.equal(target.journal.logins.length - before, isAllowed ? 1 : 0)
      }
    }
  })

  test('ends routing in circles', async () => {
    const here = { server: 'localhost', port: 0 }
    await using server = await start({ routing: here })
    here.port = server.port
    const error = await failure(driverFor(server, { connect_timeout: 0 }).driver, sa(), 20_000)
    assert.deepEqual([error.code, error.phase], ['REDIRECTED_TOO_OFTEN', 'login'])
    assert.match(error.hint ?? '', /routing lists/)
    assert.equal(server.journal.logins.length, 11)
  })

  test('tries all addresses in turn, or at once', async () => {
    await using server = await start()
    const lookup = async (): Promise<readonly string[]> => ['127.0.0.2', '127.0.0.1']
    for (const multi_subnet_failover of [false, true]) {
      const { driver } = testDriver({ port: server.port }, { ca_file: caFile, multi_subnet_failover }, { lookup })
      const { raw } = await open(driver, sa())
      assert.equal(driver.info(raw).peer, `127.0.0.1:${server.port}`)
      await driver.close(raw)
    }
  })

  test('sends what the options say', async () => {
    await using server = await start()
    const { driver } = driverFor(server, {
      application_intent: 'ReadOnly',
      application_name: 'etl',
      workstation_id: 'worker-7',
      packet_size: 8192,
    })
    const { raw } = await open(driver, sa())
    const login = server.journal.logins[0]
    assert.deepEqual(
      [login?.readOnlyIntent, login?.applicationName, login?.hostName, login?.packetSize],
      [true, 'etl', 'worker-7', 8192],
    )
    const { rows } = await runStock(raw, `select cast('${'y'.repeat(30_000)}' as nvarchar(max)) as t`)
    assert.equal(String(rows[0]?.t).length, 30_000)
    await driver.close(raw)
  })
})
