/** The SQL Server driver against the TDS server test double: logins, TLS, errors, faults, reset and cancel. */

import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Credential } from '../../src/credentials/credential.ts'
import type { SqlServerDriver } from '../../src/drivers/sqlserver/driver.ts'
import type { SspiFactory } from '../../src/drivers/sqlserver/sspi.ts'
import { PoolsmithError } from '../../src/errors.ts'
import { temporaryFolder } from '../support/folder.ts'
import { createPki, type IssuedCertificate, type Pki } from '../support/pki.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { runStock } from '../support/tds/clients.ts'
import { open, password, testDriver, token } from '../support/tds/driver.ts'
import { createIssuer, type TokenIssuer } from '../support/tds/issuer.ts'
import type { TdsServerOptions } from '../support/tds/options.ts'
import { startTdsServer, type TdsServer } from '../support/tds/server.ts'

const SA = 'Pa55word!ü'
let postgres: PostgresServer
let pki: Pki
let certificate: IssuedCertificate
let issuer: TokenIssuer
let folder: Awaited<ReturnType<typeof temporaryFolder>>
let caFile: string

before(async () => {
  folder = await temporaryFolder()
  postgres = await startPostgres()
  pki = await createPki()
  certificate = await pki.issue({ commonName: 'localhost', dns: ['localhost'] })
  caFile = join(folder.path, 'ca.pem')
  await writeFile(caFile, pki.ca)
  issuer = await createIssuer()
})

after(async () => {
  await postgres[Symbol.asyncDispose]()
  await folder[Symbol.asyncDispose]()
})

const start = (options: Partial<TdsServerOptions> = {}): Promise<TdsServer> =>
  startTdsServer({
    postgres,
    logins: { sa: SA, late: { password: 'x', mustChange: true }, old: { password: 'x', expired: true } },
    tls: certificate,
    ...options,
  })

const sa = (): Credential => password('sa', SA)

/** The driver for a server of ours, trusting its authority. */
function driverFor(server: TdsServer, extra: Readonly<Record<string, unknown>> = {}): ReturnType<typeof testDriver> {
  return testDriver({ port: server.port, login: 'sa' }, { ca_file: caFile, ...extra })
}

async function failure(driver: SqlServerDriver, credential = sa(), limitMillis = 5000): Promise<PoolsmithError> {
  try {
    const { raw } = await open(driver, credential, limitMillis)
    await driver.close(raw)
  } catch (error) {
    assert.ok(error instanceof PoolsmithError, `not one of ours: ${String(error)}`)
    assert.ok(!JSON.stringify(error).includes(SA) && !error.message.includes(SA))
    return error
  }
  throw new assert.AssertionError({ message: 'the login went through' })
}

describe('encryption', () => {
  test('is on by default, verified, and shown', async () => {
    await using server = await start()
    const { driver, events } = driverFor(server)
    const { raw, phases } = await open(driver, sa())
    const info = driver.info(raw)
    assert.equal(info.user, 'sa')
    assert.equal(info.database, 'master')
    assert.equal(info.peer, `127.0.0.1:${server.port}`)
    assert.equal(info.serverVersion, '16.0.1000')
    assert.equal(info.processId, server.journal.logins[0]?.spid)
    assert.equal(info.authentication, 'sql')
    assert.equal(info.encryption.kind, 'tls')
    assert.equal(info.encryption.verified, 'hostname')
    assert.equal(info.encryption.serverCertificate?.subject, 'CN=localhost')
    assert.deepEqual([...new Set(phases)], ['dns', 'connect', 'tls', 'login'])
    assert.ok((info.timings.tls ?? 0) > 0 && (info.timings.login ?? 0) > 0)
    assert.equal(server.journal.logins[0]?.encryption, 'tls')
    assert.equal(server.journal.logins[0]?.applicationName, 'poolsmith')
    assert.deepEqual(events, [])
    await driver.close(raw)
    assert.equal(driver.isBroken(raw), true)
    assert.deepEqual(server.complaints, [])
  })

  test('comes first under strict', async () => {
    await using server = await start({ encryption: 'strict' })
    const { driver } = driverFor(server, { encrypt: 'strict' })
    const { raw } = await open(driver, sa())
    assert.equal(server.journal.logins[0]?.encryption, 'strict')
    assert.equal(driver.info(raw).encryption.protocol, 'TLSv1.3')
    await driver.close(raw)
    // A server that does not know TDS 8.0, and one that knows nothing else.
    await using old = await start()
    const error = await failure(driverFor(old, { encrypt: 'strict' }).driver)
    assert.equal(error.code, 'TLS_HANDSHAKE_FAILED')
    assert.match(error.hint ?? '', /needs SQL Server 2022/)
    assert.equal((await failure(driverFor(server).driver)).code, 'CONNECTION_CLOSED')
  })

  test('under encrypt=false covers the login, with a warning about the session', async () => {
    await using server = await start()
    const { driver, events } = driverFor(server, { encrypt: 'false' })
    for (let round = 0; round < 2; round++) {
      const { raw } = await open(driver, sa())
      assert.equal(driver.info(raw).encryption.kind, 'none')
      // Back and forth in the clear, in more than one packet.
      const text = 'x'.repeat(20_000)
      const { rows } = await runStock(raw, `select N'${text}' as t`)
      assert.deepEqual(rows, [{ t: text }])
      await driver.close(raw)
    }
    assert.ok(server.journal.logins.every((login) => login.encryption === 'login-only'))
    assert.deepEqual(
      events.map((event) => [event.name, (event.payload as { code: string }).code]),
      [['security:warning', 'SESSION_NOT_ENCRYPTED']],
    )
    assert.deepEqual(server.complaints, [])
  })

  test('under encrypt=false covers the session when the server requires it', async () => {
    await using server = await start({ encryption: 'required' })
    const { driver } = driverFor(server, { encrypt: 'false' })
    const { raw } = await open(driver, sa())
    assert.equal(driver.info(raw).encryption.kind, 'tls')
    assert.equal(driver.info(raw).encryption.verified, 'hostname')
    await driver.close(raw)
    // Who asks for the whole session has to prove itself, as to Microsoft's drivers.
    const logins = server.journal.logins.length
    const doubtful = testDriver({ port: server.port }, { encrypt: 'false' })
    assert.equal((await failure(doubtful.driver)).code, 'TLS_UNTRUSTED')
    const elsewhere = driverFor(server, { encrypt: 'false', host_name_in_certificate: 'db.example.com' })
    assert.equal((await failure(elsewhere.driver)).code, 'TLS_HOSTNAME_MISMATCH')
    assert.equal(server.journal.logins.length, logins)
    const trusting = testDriver({ port: server.port }, { encrypt: 'false', trust_server_certificate: true })
    const trusted = await open(trusting.driver, sa())
    assert.equal(trusting.driver.info(trusted.raw).encryption.verified, undefined)
    await trusting.driver.close(trusted.raw)
  })

  test('is required where the server offers none', async () => {
    await using server = await start({ encryption: 'not-supported' })
    const error = await failure(driverFor(server).driver)
    assert.equal(error.code, 'TLS_NOT_OFFERED')
    assert.equal(error.phase, 'tls')
    // A password that everybody can read on the way is not sent.
    assert.equal((await failure(driverFor(server, { encrypt: 'false' }).driver)).code, 'CLEARTEXT_REFUSED')
    assert.deepEqual(server.journal.logins, [])
  })

  test('ends the attempt when the certificate is not trusted, expired or of another name', async () => {
    await using server = await start()
    const untrusted = testDriver({ port: server.port }, {})
    const first = await failure(untrusted.driver)
    assert.equal(first.code, 'TLS_UNTRUSTED')
    assert.match(first.hint ?? '', /ca_file/)

    const elsewhere = await pki.issue({ commonName: 'db.example.com', dns: ['db.example.com'] })
    await using other = await start({ tls: elsewhere })
    const second = await failure(driverFor(other).driver)
    assert.equal(second.code, 'TLS_HOSTNAME_MISMATCH')
    assert.equal(second.phase, 'tls')
    const named = await failure(driverFor(other, { host_name_in_certificate: 'db.example.org' }).driver)
    assert.match(named.message, /not issued for db\.example\.org, but for DNS:db\.example\.com/)
    await using strict = await start({ tls: elsewhere, encryption: 'strict' })
    assert.equal((await failure(driverFor(strict, { encrypt: 'strict' }).driver)).code, 'TLS_HOSTNAME_MISMATCH')

    const over = await pki.issue({ commonName: 'localhost', dns: ['localhost'], notAfter: new Date(Date.now() - 1000) })
    await using expired = await start({ tls: over })
    assert.equal((await failure(driverFor(expired).driver)).code, 'TLS_CERTIFICATE_EXPIRED')

    for (const [name, encryption] of [
      [other, 'true'],
      [strict, 'strict'],
    ] as const) {
      const named = driverFor(name, { encrypt: encryption, host_name_in_certificate: 'db.example.com' })
      const { raw } = await open(named.driver, sa())
      await named.driver.close(raw)
    }
    // Asked for is the server, whatever its certificate holds: a wildcard would be no name to ask for.
    assert.equal(strict.journal.logins[0]?.tlsServerName, 'localhost')
    assert.deepEqual(server.journal.logins, [])
  })

  test('accepts the certificate in server_certificate, whatever its authority and names, and no other one', async () => {
    const own = await (await createPki()).issue({ commonName: 'box-17', dns: ['box-17'] })
    const [pem, der, wrong, empty] = ['own.pem', 'own.cer', 'wrong.pem', 'empty.pem'].map((name) =>
      join(folder.path, name),
    ) as [string, string, string, string]
    await writeFile(pem, own.cert)
    await writeFile(der, new X509Certificate(own.cert).raw)
    await writeFile(wrong, certificate.cert)
    await writeFile(empty, '')
    for (const encrypt of ['true', 'false', 'strict'] as const) {
      const encryption = encrypt === 'strict' ? 'strict' : 'required'
      await using server = await start({ tls: own, encryption })
      for (const server_certificate of [pem, der]) {
        const { driver } = testDriver({ port: server.port }, { encrypt, server_certificate })
        const { raw } = await open(driver, sa())
        assert.equal(driver.info(raw).encryption.verified, 'exact')
        await driver.close(raw)
      }
      const logins = server.journal.logins.length
      // The certificate that is named would be as good as any by its authority and its name.
      await using honest = await start({ encryption })
      for (const [file, port, code] of [
        [wrong, server.port, 'TLS_CERTIFICATE_OTHER'],
        [pem, honest.port, 'TLS_CERTIFICATE_OTHER'],
        [empty, server.port, 'CA_FILE_MALFORMED'],
        [join(folder.path, 'gone.pem'), server.port, 'CA_FILE_MISSING'],
      ] as const) {
        const { driver } = testDriver({ port }, { encrypt, ca_file: caFile, server_certificate: file })
        const error = await failure(driver)
        assert.deepEqual([error.code, error.phase], [code, 'tls'])
        assert.match(error.hint ?? '', /server_certificate|administrator/)
      }
      assert.equal(server.journal.logins.length, logins)
      assert.equal(honest.journal.logins.length, 0)
    }
  })

  test('accepts any certificate only under trust_server_certificate, with a warning', async () => {
    await using server = await start()
    const { driver, events } = testDriver({ port: server.port }, { trust_server_certificate: true })
    const { raw } = await open(driver, sa())
    assert.equal(driver.info(raw).encryption.verified, undefined)
    await driver.close(raw)
    assert.deepEqual(
      events.map((event) => (event.payload as { code: string }).code),
      ['SERVER_NOT_VERIFIED'],
    )
    assert.throws(
      () => testDriver({ port: 1 }, { encrypt: 'strict', trust_server_certificate: true }),
      (error: PoolsmithError) => error.code === 'CONFIG_INVALID' && /strict/.test(error.message),
    )
  })
})

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
    // Each on a server of its own, since each uses up its time limit.
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

  test('show the text of the server on one line, without control characters and of bounded length', async () => {
    await using server = await start()
    const message = `Login failed.\r\n\u001b[2Jforged line\u202e${'x'.repeat(5000)}`
    server.faults.add({ at: 'login', fault: { do: 'refuse', number: 18456, state: 1, message } })
    // In several packets, behind which the server hangs up at once.
    const error = await failure(driverFor(server, { encrypt: 'false' }).driver)
    assert.match(error.message, /Login failed\. \\x1b\[2Jforged line\\u202ex+…/)
    for (const text of [error.message, error.hint ?? '', JSON.stringify(error.details)]) {
      assert.ok(text.length < 1500 && !/[\p{Cc}\u202e]/u.test(text), text)
    }
  })

  test('of tokens say what is wrong with the token', async () => {
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
    // A token never travels over a connection that is not verified.
    const before = server.journal.logins.length
    const exposed = await failure(driverFor(server, { encrypt: 'false' }).driver, token(await issuer.issue()))
    assert.equal(exposed.code, 'TLS_NEEDED')
    assert.equal(server.journal.logins.length, before)
  })

  test('of a token come in the same way under TDS 8.0 and from where we are sent on to', async () => {
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
      // The double sees every client leave.
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
      // An answer to another question, which is none; then perhaps the right one.
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
      // A rejection that nobody handles is told after a turn of the event loop, and fails the test.
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

describe('an open session', () => {
  test('is pinged without being used', async () => {
    await using server = await start()
    const { driver } = driverFor(server)
    const { raw } = await open(driver, sa())
    await driver.ping(raw)
    assert.equal(driver.needsReset(raw, 'full'), false)
    await runStock(raw, 'select 1')
    assert.equal(driver.needsReset(raw, 'rollback'), false)
    assert.equal(driver.needsReset(raw, 'full'), true)
    await driver.close(raw)
  })

  test('is rolled back, and reset by the protocol', async () => {
    await using server = await start()
    const { driver } = driverFor(server)
    const { raw } = await open(driver, sa())
    await runStock(raw, 'begin transaction', { batch: true })
    await runStock(raw, 'set lock_timeout 7', { batch: true })
    assert.equal(driver.needsReset(raw, 'rollback'), true)
    await driver.reset(raw, 'rollback')
    assert.equal(server.journal.resets, 0)
    assert.deepEqual((await runStock(raw, 'select @@trancount as n, @@lock_timeout as t')).rows, [{ n: 0, t: 7 }])
    await runStock(raw, 'begin transaction', { batch: true })
    await driver.reset(raw, 'full')
    assert.equal(server.journal.resets, 1)
    assert.equal(driver.needsReset(raw, 'full'), false)
    assert.deepEqual((await runStock(raw, 'select @@trancount as n, @@lock_timeout as t')).rows, [{ n: 0, t: -1 }])
    await driver.close(raw)
    assert.deepEqual(server.complaints, [])
  })

  test('that is returned while a statement runs is cancelled first', async () => {
    await using server = await start()
    const { driver } = driverFor(server)
    const { raw } = await open(driver, sa())
    const left = runStock(raw, "waitfor delay '00:00:30'")
    left.catch(() => undefined)
    assert.equal(driver.needsReset(raw, 'rollback'), true)
    await driver.reset(raw, 'rollback')
    await assert.rejects(left, /Canceled/)
    assert.equal(server.journal.attentions, 1)
    assert.deepEqual((await runStock(raw, 'select 1 as one')).rows, [{ one: 1 }])
    // A server that does not answer the attention costs the session, not the pool.
    server.faults.add({ at: 'attention', fault: { do: 'hang' } })
    const stuck = runStock(raw, "waitfor delay '00:00:30'")
    stuck.catch(() => undefined)
    await assert.rejects(driver.reset(raw, 'rollback'), (error: PoolsmithError) => error.code === 'SESSION_BUSY')
    driver.abort(raw)
    await assert.rejects(stuck)
  })

  test('keeps no listeners when it is returned busy repeatedly', async () => {
    await using server = await start()
    const { driver } = driverFor(server)
    const { raw } = await open(driver, sa())
    const listeners = (): number[] => raw.eventNames().map((name) => raw.listenerCount(name))
    const before = listeners()
    for (let round = 0; round < 15; round++) {
      const left = runStock(raw, "waitfor delay '00:00:30'")
      left.catch(() => undefined)
      await driver.reset(raw, 'rollback')
      await assert.rejects(left, /Canceled/)
    }
    assert.deepEqual(listeners(), before)
    await driver.close(raw)
  })

  test('is cancelled at once', async () => {
    await using server = await start()
    const { driver } = driverFor(server)
    const { raw } = await open(driver, sa())
    const running = runStock(raw, 'select n from generate_series(1, 5000000) as n')
    running.catch(() => undefined)
    await sleep(50)
    await driver.cancel(raw)
    await assert.rejects(running, /Canceled/)
    assert.deepEqual((await runStock(raw, 'select 1 as one')).rows, [{ one: 1 }])
    await driver.close(raw)
  })

  test('can be aborted in the middle of an answer that has arrived whole', async () => {
    await using server = await start()
    const { driver } = driverFor(server)
    const { Request } = await import('tedious')
    for (const isCancelled of [false, true]) {
      const { raw } = await open(driver, sa())
      const error = await new Promise<Error | undefined>((resolve) => {
        const request = new Request('select 1 union all select 2', (failed) => resolve(failed ?? undefined))
        request.once('row', () => {
          if (isCancelled) raw.cancel()
          driver.abort(raw)
        })
        raw.execSqlBatch(request)
      })
      assert.match(String(error), /Connection closed/)
      await sleep(20)
    }
  })

  test('is known to be dead when the server ends it', async () => {
    await using server = await start()
    const { driver } = driverFor(server)
    const { raw } = await open(driver, sa())
    assert.equal(driver.isBroken(raw), false)
    const ended = once(raw, 'end')
    server.sessions()[0]?.kill()
    await ended
    assert.equal(driver.isBroken(raw), true)
    await assert.rejects(driver.ping(raw))
    // An error severe enough to end the session counts before the socket closes.
    const { raw: other } = await open(driver, sa())
    server.faults.add({ at: 'request', fault: { do: 'refuse', number: 596, class: 21, message: 'Kill state.' } })
    await assert.rejects(runStock(other, 'select 1'))
    assert.equal(driver.isBroken(other), true)
    await driver.close(other)
  })
})
