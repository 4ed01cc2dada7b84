/** Logins to the TDS server test double that are refused, or whose server misbehaves. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { describe, test } from 'node:test'
import type { Credential } from '../../src/credentials/credential.ts'
import type { SspiFactory } from '../../src/drivers/sqlserver/sspi.ts'
import { open, password, testDriver, token } from '../support/tds/driver.ts'
import type { TdsServer } from '../support/tds/server.ts'
import { driverFor as driverTrusting, failure, sa, sqlServerSetup } from '../support/tds/setup.ts'

const { caFile, issuer, start } = await sqlServerSetup()
const driverFor = (server: TdsServer, extra = {}) => driverTrusting(server, caFile, extra)

describe('refusals', () => {
  test('carry the number, the state and a hint', async () => {
    await using server = await start()
    const { driver } = driverFor(server)
    const wrong = await failure(driver, password('sa', 'wrong'))
    assert.equal(wrong.code, 'LOGIN_REFUSED')
    assert.equal(wrong.phase, 'login')
    assert.deepEqual([wrong.details.number, wrong.details.state], [18456, 1])
    assert.equal((await failure(driver, password('late', 'x'))).code, 'LOGIN_PASSWORD_CHANGE')
    assert.equal((await failure(driver, password('old', 'x'))).details.number, 18487)

    const nowhere = testDriver({ port: server.port, database: 'nowhere' }, { ca_file: caFile })
    const missing = await failure(nowhere.driver)
    assert.equal(missing.code, 'DATABASE_NOT_FOUND')
    assert.equal(missing.details.number, 4060)

    server.faults.add({ at: 'login', fault: { do: 'refuse', number: 18456, state: 7, message: 'Login failed.' } })
    assert.match((await failure(driver)).hint ?? '', /disabled/)
  })

  test('of a busy Azure SQL are retried with growing pauses, within the time limit', async () => {
    const busy = (server: TdsServer, number: number, times: number): void =>
      server.faults.add({ at: 'login', fault: { do: 'refuse', number, message: 'Come back later.' }, times })
    await using server = await start()
    const { driver } = driverFor(server)
    busy(server, 40613, 2)
    await driver.close((await open(driver, sa())).raw)
    assert.equal(server.journal.logins.length, 3)
    // Each has a separate server, because each uses up its time limit.
    await Promise.all(
      [40501, 40613, 49918, 49919, 49920].map(async (number) => {
        await using overloaded = await start()
        busy(overloaded, number, 1000)
        const error = await failure(driverFor(overloaded, { connect_timeout: 3 }).driver)
        assert.deepEqual([error.code, error.transient, error.details.number], ['SERVER_THROTTLED', true, number])
        assert.ok(overloaded.journal.logins.length > 1, 'not tried again')
        assert.ok(overloaded.journal.logins.length < 8, 'the pauses do not grow')
      }),
    )
  })

  for (const encrypt of ['true', 'strict']) {
    test(`by a version of TDS that was not asked for or is not spoken, under encrypt=${encrypt}`, async () => {
      const other = encrypt === 'true' ? [[0x0800_0000, 'TDS 8.0 (0x08000000)', /for TDS 8\.0 set encrypt=strict/]] : []
      for (const [version, name, hint] of [
        [0x7100_0001, 'TDS 7.1 (0x71000001)', /SQL Server 2005 or later/],
        [0x0701_0000, 'TDS 7.1 (0x07010000)', /SQL Server 2005 or later/],
        [0x0500_0000, 'an unknown version (0x05000000)', /proxy/],
        ...other,
      ] as const) {
        await using server = await start({ acknowledgedVersion: Number(version), strictToo: true })
        const error = await failure(driverFor(server, { encrypt }).driver)
        assert.deepEqual([error.code, error.phase, error.details.host], ['TDS_VERSION', 'login', 'localhost'])
        assert.ok(error.message.includes(`localhost accepts the login in ${String(name)}`), error.message)
        assert.match(error.hint ?? '', hint as RegExp)
        assert.deepEqual(server.complaints, [])
      }
    })

    test(`not by a version of TDS that is spoken, under encrypt=${encrypt}`, async () => {
      const strict = encrypt === 'strict' ? [0x0800_0000] : []
      for (const version of [0x7209_0002, 0x730a_0003, 0x730b_0003, 0x7400_0004, ...strict]) {
        await using server = await start({ acknowledgedVersion: version, strictToo: true })
        const { driver } = driverFor(server, { encrypt })
        await driver.close((await open(driver, sa())).raw)
      }
    })
  }

  test('show the text of the server on one line, without control characters and of bounded length', async () => {
    await using server = await start()
    const message = `Login failed.\r\n\u001b[2Jforged line\u202e${'x'.repeat(5000)}`
    server.faults.add({ at: 'login', fault: { do: 'refuse', number: 18456, state: 1, message } })
    // The text takes several packets, after which the server hangs up at once.
    for (const encrypt of ['false', 'true']) {
      const error = await failure(driverFor(server, { encrypt }).driver)
      assert.match(error.message, /Login failed\. \\x1b\[2Jforged line\\u202ex+…/, encrypt)
      for (const text of [error.message, error.hint ?? '', JSON.stringify(error.details)]) {
        assert.ok(text.length < 1500 && !/[\p{Cc}\u202e]/u.test(text), text)
      }
    }
  })

  test("of tokens name the token's fault", async () => {
    await using server = await start({ tokens: issuer.rules, fedAuthRequired: true })
    const { driver } = driverFor(server)
    const { raw } = await open(driver, token(await issuer.issue()))
    assert.equal(driver.info(raw).user, 'svc@test')
    assert.equal(driver.info(raw).authentication, 'token')
    assert.equal(server.journal.logins[0]?.fedAuthEcho, true)
    await driver.close(raw)

    const expired = await failure(driver, token(await issuer.issue({ expiresInSeconds: -60 })))
    assert.equal(expired.code, 'LOGIN_REFUSED')
    assert.match(expired.message, /expired/)
    const foreign = await failure(
      driver,
      token(await issuer.issue({ audience: 'https://ossrdbms-aad.database.windows.net' })),
    )
    assert.equal(foreign.code, 'TOKEN_AUDIENCE')
    assert.match(foreign.hint ?? '', /ossrdbms/)
    assert.equal((await failure(driver, token(await issuer.issue({ forged: true })))).code, 'LOGIN_REFUSED')
    // A token is never sent over a connection that is not verified.
    const before = server.journal.logins.length
    const exposed = await failure(driverFor(server, { encrypt: 'false' }).driver, token(await issuer.issue()))
    assert.equal(exposed.code, 'TLS_NEEDED')
    assert.equal(server.journal.logins.length, before)
  })

  test('of a token are the same under TDS 8.0 and after routing', async () => {
    await using strict = await start({ tokens: issuer.rules, fedAuthRequired: true, encryption: 'strict' })
    await using gateway = await start({
      tokens: issuer.rules,
      fedAuthRequired: true,
      encryption: 'strict',
      routing: { server: 'localhost', port: strict.port },
    })
    const { driver } = driverFor(gateway, { encrypt: 'strict' })
    const { raw } = await open(driver, token(await issuer.issue()))
    assert.equal(driver.info(raw).peer, `127.0.0.1:${strict.port}`)
    assert.deepEqual(
      [gateway, strict].map(({ journal }) => [journal.logins[0]?.authentication, journal.logins[0]?.fedAuthEcho]),
      [
        ['fedauth', true],
        ['fedauth', true],
      ],
    )
    await driver.close(raw)
    const forged = await failure(driver, token(await issuer.issue({ forged: true })))
    assert.deepEqual([forged.code, forged.details.number], ['LOGIN_REFUSED', 18456])
  })

  test('of addresses: unknown, closed, silent', async () => {
    const unknown = testDriver({ host: 'no-such-host.invalid' }, {}, { lookup: async () => [] })
    assert.equal((await failure(unknown.driver)).code, 'DNS_NOT_FOUND')
    const port = await closedPort()
    assert.equal((await failure(testDriver({ port }, {}).driver)).code, 'CONNECT_REFUSED')
    const silent = testDriver(
      { host: 'slow.test' },
      { connect_timeout: 0.2 },
      { lookup: () => new Promise(() => undefined) },
    )
    const error = await failure(silent.driver)
    assert.deepEqual([error.code, error.phase], ['CONNECT_TIMEOUT', 'dns'])
  })
})

async function closedPort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' && address !== null ? address.port : 0
}

describe('a server that misbehaves', () => {
  for (const at of ['connect', 'prelogin', 'tls', 'login'] as const) {
    test(`at ${at} gives a specific error in time, and leaves nothing open`, async () => {
      await using server = await start()
      const { driver } = driverFor(server, { connect_timeout: 1.5 })
      const phases = { connect: 'tls', prelogin: 'tls', tls: 'tls', login: 'login' } as const
      for (const what of ['hang', 'cut', 'reset', 'garble'] as const) {
        server.faults.clear()
        server.faults.add({ at, fault: { do: what } })
        const error = await failure(driver)
        const codes =
          what === 'hang'
            ? ['CONNECT_TIMEOUT']
            : what === 'garble'
              ? ['NOT_SQL_SERVER', 'CONNECT_TIMEOUT', 'TLS_HANDSHAKE_FAILED', 'TLS_STUFFED']
              : ['CONNECTION_CLOSED', 'TLS_HANDSHAKE_FAILED', ...(at === 'connect' ? ['CONNECT_FAILED'] : [])]
        assert.ok(codes.includes(error.code), `${what}: ${error.code} ${error.message}`)
        if (error.code !== 'CONNECT_FAILED') assert.equal(error.phase, phases[at], `${what}: ${error.message}`)
      }
      // The double sees every client disconnect.
      server.faults.clear()
      await driver.close((await open(driver, sa())).raw)
    })
  }

  for (const at of ['fedauth', 'sspi'] as const) {
    test(`at ${at} gives a specific error in time, in its phase`, async () => {
      const acceptor = {
        step: async () => ({ output: Buffer.from('ok'), principal: 'DOMAIN\\user' }),
        close: () => undefined,
      }
      await using server = await start({ tokens: issuer.rules, sspi: { acceptor: () => acceptor } })
      const sspi: SspiFactory = async () => ({
        step: async (input) => ({ output: Buffer.from('A'), complete: input !== undefined }),
      })
      const { driver } = testDriver({ port: server.port }, { ca_file: caFile, connect_timeout: 1 }, { sspi })
      const credential: Credential =
        at === 'fedauth' ? token(await issuer.issue()) : { kind: 'gss', identity: 'user', issuedAt: Date.now() }
      await driver.close((await open(driver, credential)).raw)
      for (const [what, codes] of [
        ['hang', ['CONNECT_TIMEOUT']],
        ['cut', ['CONNECTION_CLOSED']],
        ['reset', ['CONNECTION_CLOSED']],
        ['garble', ['NOT_SQL_SERVER']],
      ] as const) {
        server.faults.add({ at, fault: { do: what }, times: 1 })
        const error = await failure(driver, credential)
        assert.ok((codes as readonly string[]).includes(error.code), `${what}: ${error.code} ${error.message}`)
        assert.equal(error.phase, 'login', what)
      }
      server.faults.add({ at, fault: { do: 'refuse', number: 18456, state: 102, message: 'Login failed.' }, times: 1 })
      const refused = await failure(driver, credential)
      assert.deepEqual([refused.code, refused.details.number, refused.details.state], ['LOGIN_REFUSED', 18456, 102])
      await driver.close((await open(driver, credential)).raw)
    })
  }

  test('that is a web server is reported as NOT_SQL_SERVER at once', async () => {
    const web = createServer((socket) => {
      socket.on('error', () => undefined)
      socket.once('data', () => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'))
    })
    web.listen(0, '127.0.0.1')
    await once(web, 'listening')
    const address = web.address()
    try {
      const port = typeof address === 'object' && address !== null ? address.port : 0
      assert.equal((await failure(testDriver({ port }, {}).driver)).code, 'NOT_SQL_SERVER')
    } finally {
      web.close()
    }
  })

  test('is disconnected when the caller aborts', async () => {
    await using server = await start()
    server.faults.add({ at: 'login', fault: { do: 'hang' } })
    const { driver } = driverFor(server)
    const error = await failure(driver, sa(), 300)
    assert.deepEqual([error.code, error.phase], ['ABORTED', 'login'])
  })
})
