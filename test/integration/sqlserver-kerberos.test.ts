/** Kerberos logins to the TDS server test double, which verifies them with a real keytab of a real realm. */

import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { Credential } from '../../src/credentials/credential.ts'
import { gssSspi } from '../../src/drivers/sqlserver/gss-sspi.ts'
import type { SspiFactory, SspiTarget } from '../../src/drivers/sqlserver/sspi.ts'
import { PoolsmithError } from '../../src/errors.ts'
import type { GssApi, GssFlag } from '../../src/kerberos/gss-api.ts'
import { temporaryFolder } from '../support/folder.ts'
import { type GssAcceptor, gssAcceptor } from '../support/gss-acceptor.ts'
import { type Kdc, startKdc } from '../support/kdc.ts'
import { createPki, type IssuedCertificate, type Pki } from '../support/pki.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { runStock } from '../support/tds/clients.ts'
import { open, testDriver } from '../support/tds/driver.ts'
import type { SspiAcceptor, TdsServerOptions } from '../support/tds/options.ts'
import { startTdsServer, type TdsServer } from '../support/tds/server.ts'

let postgres: PostgresServer
let pki: Pki
let certificate: IssuedCertificate
let kdc: Kdc
let folder: Awaited<ReturnType<typeof temporaryFolder>>
let caFile: string
let alice: Credential
const services = new Set<string>()

before(async () => {
  folder = await temporaryFolder()
  postgres = await startPostgres()
  pki = await createPki()
  certificate = await pki.issue({ commonName: 'localhost', dns: ['localhost'] })
  caFile = join(folder.path, 'ca.pem')
  await writeFile(caFile, pki.ca)
  kdc = await startKdc()
  // This must happen before the first context of this process, because MIT reads it once.
  Object.assign(process.env, kdc.environment)
  await kdc.addPrincipal('alice', { password: 'pw' })
  const cache = `FILE:${kdc.path('alice')}`
  await kdc.kinit('alice', cache, { password: 'pw' })
  alice = { kind: 'gss', identity: `alice@${kdc.realm}`, principal: `alice@${kdc.realm}`, cache, issuedAt: Date.now() }
})

after(async () => {
  await kdc[Symbol.asyncDispose]()
  await postgres[Symbol.asyncDispose]()
  await folder[Symbol.asyncDispose]()
})

interface KerberosServer extends TdsServer {
  /** The logins at the acceptors, in order. */
  readonly seen: { readonly principal: string; readonly delegated: boolean }[]
}

/** A server whose service principal is in the realm: `spn` is made from its port unless given. */
async function start(
  options: Partial<TdsServerOptions> & {
    readonly reply?: 'together' | 'apart'
    readonly spn?: string
    readonly insists?: boolean
  } = {},
): Promise<KerberosServer> {
  const { reply, spn, insists = false, ...rest } = options
  const seen: KerberosServer['seen'] = []
  let keytab = ''
  const server = await startTdsServer({
    postgres,
    tls: certificate,
    sspi: {
      ...(reply === undefined ? {} : { reply }),
      acceptor: ({ channelBindings }) => {
        const acceptor: GssAcceptor = gssAcceptor(keytab, insists ? { channelBindings } : {})
        return {
          step: async (token) => {
            const answer = await acceptor.step(token)
            if (answer.principal !== undefined) {
              seen.push({ principal: answer.principal, delegated: answer.delegated ?? false })
            }
            return answer
          },
          close: () => acceptor.close(),
        }
      },
    },
    ...rest,
  })
  const service = spn ?? `MSSQLSvc/localhost:${server.port}`
  await addService(service)
  keytab = await kdc.keytab(service)
  return Object.assign(server, { seen })
}

/** Once, because the system may give a server the port of a stopped one. */
async function addService(name: string): Promise<void> {
  if (services.has(name)) return
  services.add(name)
  await kdc.addPrincipal(name)
}

function driverFor(server: TdsServer, extra: Readonly<Record<string, unknown>> = {}): ReturnType<typeof testDriver> {
  return testDriver({ port: server.port }, { ca_file: caFile, ...extra })
}

async function failure(opening: Promise<unknown>): Promise<PoolsmithError> {
  try {
    await opening
  } catch (error) {
    assert.ok(error instanceof PoolsmithError, `not one of ours: ${String(error)}`)
    return error
  }
  throw new assert.AssertionError({ message: 'the login went through' })
}

describe('by a real ticket', () => {
  for (const encrypt of ['true', 'false', 'strict'] as const) {
    for (const gss_mechanism of ['krb5', 'spnego'] as const) {
      for (const reply of ['together', 'apart'] as const) {
        test(`encrypt=${encrypt}, ${gss_mechanism}, the reply ${reply}`, async () => {
          await using server = await start({ reply, ...(encrypt === 'strict' ? { encryption: 'strict' } : {}) })
          const { driver } = driverFor(server, { encrypt, gss_mechanism })
          const { raw, phases } = await open(driver, alice)
          const info = driver.info(raw)
          assert.equal(info.authentication, 'kerberos')
          assert.equal(info.user, `alice@${kdc.realm}`)
          const { rows } = await runStock(
            raw,
            'select auth_scheme, encrypt_option from sys.dm_exec_connections where session_id = @@spid',
          )
          assert.deepEqual(rows, [{ auth_scheme: 'KERBEROS', encrypt_option: encrypt === 'false' ? 'FALSE' : 'TRUE' }])
          assert.ok(phases.includes('gss'))
          const login = server.journal.logins[0]
          assert.equal(login?.sspiHead.includes('NTLMSSP'), false)
          // Raw: APPLICATION 0 with the OID of krb5 (1.2.840.113554.1.2.2). SPNEGO: with its own (1.3.6.1.5.5.2).
          const oid = gss_mechanism === 'krb5' ? '06092a864886f712010202' : '06062b0601050502'
          assert.ok(login?.sspiHead.toString('hex').includes(oid))
          await driver.close(raw)
          assert.deepEqual(server.complaints, [])
        })
      }
    }
  }

  for (const encrypt of ['true', 'false', 'strict'] as const) {
    for (const gss_mechanism of ['krb5', 'spnego'] as const) {
      for (const asksKdc of [true, false]) {
        const way = asksKdc ? 'a new ticket' : 'a ticket of the cache'
        test(`a server that insists on channel bindings, encrypt=${encrypt}, ${gss_mechanism}, ${way}`, async () => {
          await using server = await start({
            insists: true,
            ...(encrypt === 'strict' ? { encryption: 'strict' } : {}),
          })
          const { driver } = driverFor(server, { encrypt, gss_mechanism })
          if (!asksKdc) await driver.close((await open(driver, alice)).raw)
          const { raw } = await open(driver, alice)
          assert.equal(driver.info(raw).user, `alice@${kdc.realm}`)
          await driver.close(raw)
          const bare = driverFor(server, { encrypt, gss_mechanism, extended_protection: false })
          const error = await failure(open(bare.driver, alice))
          assert.equal(error.phase, 'login')
          assert.equal(server.journal.logins.at(-1)?.accepted, false)
          assert.deepEqual(server.complaints, [])
        })
      }
    }
  }

  test('of a server without any encryption', async () => {
    await using server = await start({ encryption: 'not-supported' })
    const { driver } = testDriver({ port: server.port }, { encrypt: 'false' })
    const { raw } = await open(driver, alice)
    assert.equal(server.journal.logins[0]?.encryption, 'none')
    await driver.close(raw)
    // An option that verifies a certificate needs a server with one.
    const error = await failure(open(driverFor(server, { encrypt: 'false' }).driver, alice))
    assert.deepEqual([error.code, error.phase], ['TLS_NOT_OFFERED', 'tls'])
    assert.equal(server.journal.logins.length, 1)
  })

  test('under a silent KDC fails with the KDC, and not with the server that waits for the login', async () => {
    await using server = await start()
    kdc.freeze()
    try {
      const { driver } = driverFor(server, { connect_timeout: 1 })
      const error = await failure(open(driver, alice, 20_000))
      assert.deepEqual([error.code, error.phase, error.transient], ['KDC_TIMEOUT', 'gss', true])
      assert.match(error.message, new RegExp(`KDC.*${kdc.port}`, 's'))
      assert.doesNotMatch(`${error.message} ${error.hint}`, /server accepts connections/)
      assert.equal((error.cause as PoolsmithError).code, 'CONNECT_TIMEOUT')
    } finally {
      kdc.thaw()
    }
    assert.equal(server.journal.logins.length, 0)
  })

  test('for the principal that mssql_spn names', async () => {
    await using server = await start({ spn: 'MSSQLSvc/cluster.test:SALES' })
    const error = await failure(open(driverFor(server).driver, alice))
    assert.equal(error.code, 'SPN_UNKNOWN')
    const { driver } = driverFor(server, { mssql_spn: `MSSQLSvc/cluster.test:SALES@${kdc.realm}` })
    const { raw } = await open(driver, alice)
    await driver.close(raw)
  })

  test('for a named instance: by its name, or by the port from the Browser', async () => {
    // The order matters: a ticket for the name would stay in the cache after the name is deleted.
    for (const registered of ['port', 'name'] as const) {
      await using server = await start({
        instance: 'SALES',
        ...(registered === 'name' ? { spn: 'MSSQLSvc/localhost:SALES' } : {}),
      })
      const browser = createSocket('udp4')
      browser.bind(0, '127.0.0.1')
      await once(browser, 'listening')
      browser.on('message', (_, from) => {
        const text = `ServerName;HOST;InstanceName;SALES;IsClustered;No;Version;16.0.1000.6;tcp;${server.port};;`
        browser.send(Buffer.from(`\u0005\0\0${text}`, 'latin1'), from.port, from.address)
      })
      try {
        const { driver } = testDriver(
          {},
          { ca_file: caFile, instance_name: 'SALES' },
          { browserPort: browser.address().port, lookup: async () => ['127.0.0.1'] },
        )
        const { raw } = await open(driver, alice)
        const service = registered === 'name' ? 'SALES' : server.port
        assert.equal(driver.info(raw).kerberos?.server, `MSSQLSvc/localhost:${service}@${kdc.realm}`)
        await driver.close(raw)
      } finally {
        browser.close()
      }
    }
  })

  test('delegated only where the option asks for it', async () => {
    await using server = await start()
    const cache = `FILE:${kdc.path('forward')}`
    await kdc.addPrincipal('carol', { password: 'pw' })
    await kdc.kadmin(`modprinc +ok_as_delegate MSSQLSvc/localhost:${server.port}`)
    await kdc.configure(['  forwardable = true'])
    await kdc.kinit('carol', cache, { password: 'pw' })
    const carol: Credential = { kind: 'gss', identity: 'carol', cache, issuedAt: Date.now() }
    for (const gssdelegation of [false, true]) {
      const { driver } = driverFor(server, { gssdelegation })
      const { raw } = await open(driver, carol)
      await driver.close(raw)
    }
    assert.deepEqual(
      server.seen.map((one) => one.delegated),
      [false, true],
    )
  })

  for (const encrypt of ['true', 'false', 'strict'] as const) {
    test(`of another server after routing, under encrypt=${encrypt}: its own principal, in place of mssql_spn`, async () => {
      const strict = encrypt === 'strict' ? ({ encryption: 'strict' } as const) : {}
      await using target = await start(strict)
      await using gateway = await start({
        ...strict,
        reply: 'together',
        routing: { server: 'localhost', port: target.port },
      })
      const mssql_spn = `MSSQLSvc/localhost:${gateway.port}@${kdc.realm}`
      const { driver } = driverFor(gateway, { encrypt, mssql_spn })
      const { raw } = await open(driver, alice)
      assert.equal(driver.info(raw).peer, `127.0.0.1:${target.port}`)
      assert.equal(driver.info(raw).kerberos?.server, `MSSQLSvc/localhost:${target.port}@${kdc.realm}`)
      assert.equal(gateway.seen.length, 1)
      assert.equal(target.seen.length, 1)
      await driver.close(raw)
    })
  }

  test('is refused with the reason', async () => {
    await using server = await start()
    const { driver } = driverFor(server)
    // After a new key the server's keytab is out of date.
    await kdc.changeKeys(`MSSQLSvc/localhost:${server.port}`)
    const stale: Credential = { ...alice, cache: `FILE:${kdc.path('alice-fresh')}` } as Credential
    await kdc.kinit('alice', `FILE:${kdc.path('alice-fresh')}`, { password: 'pw' })
    const old = await failure(open(driver, stale))
    assert.equal(old.code, 'GSS_SERVER_REFUSED')
    assert.equal(old.details.number, 18452)

    await using choosy = await start({})
    const nobody: Credential = { kind: 'gss', identity: 'nobody', cache: `FILE:${kdc.path('nothing')}`, issuedAt: 0 }
    const without = await failure(open(driverFor(choosy).driver, nobody))
    assert.equal(without.code, 'TICKET_CACHE_MISSING')
    assert.deepEqual(choosy.journal.logins, [])
  })
})

describe('the proof of the server', () => {
  for (const gss_mechanism of ['krb5', 'spnego'] as const) {
    test(`is checked: a proof by another key is refused, under ${gss_mechanism}`, async () => {
      let keytab = ''
      let refusals = 0
      await using server = await startTdsServer({
        postgres,
        tls: certificate,
        sspi: {
          acceptor: () => {
            const acceptor = gssAcceptor(keytab)
            return {
              async step(input) {
                const { output = Buffer.alloc(0), ...rest } = await acceptor.step(input)
                const forged = Buffer.from(output)
                const at = forged.length - 5
                forged[at] = (forged[at] ?? 0) ^ 0xff
                refusals++
                return { ...rest, output: forged }
              },
              close: () => acceptor.close(),
            }
          },
        },
      })
      const service = `MSSQLSvc/localhost:${server.port}`
      await addService(service)
      keytab = await kdc.keytab(service)
      const { driver } = driverFor(server, { gss_mechanism })
      const error = await failure(open(driver, alice))
      assert.equal(error.phase, 'gss')
      assert.ok(error.code !== 'LOGIN_REFUSED' && error.code !== 'NOT_SQL_SERVER', error.code)
      assert.equal(refusals, 1)
    })
  }
})

/** A mechanism for the test: each side sends a fixed list of tokens. */
function scripted(words: readonly Buffer[], completeAfter: number, seen: SspiTarget[] = []): SspiFactory {
  return async (target) => {
    seen.push(target)
    let steps = 0
    return {
      step: async () => {
        const output = words[steps]
        steps++
        return { ...(output === undefined ? {} : { output }), complete: steps > completeAfter }
      },
    }
  }
}

function scriptedAcceptor(replies: readonly Buffer[], rounds: number, heard: Buffer[]): () => SspiAcceptor {
  return () => {
    let round = 0
    return {
      step: async (token) => {
        heard.push(Buffer.from(token))
        const output = replies[round] ?? Buffer.alloc(0)
        round++
        return { output, ...(round >= rounds ? { principal: 'DOMAIN\\user' } : {}) }
      },
      close: () => undefined,
    }
  }
}

/** A GSSAPI whose contexts are complete with the server's first token, with these flags. */
function gssOf(flags: readonly GssFlag[]): GssApi {
  return {
    // The provider whose credential names its own principal.
    provider: 'sspi',
    acquireCredential: async () => ({
      principal: 'alice',
      cache: undefined,
      inquire: async () => ({ principal: 'alice', lifetimeSeconds: 3600 }),
      [Symbol.dispose]: () => undefined,
    }),
    initContext: () => {
      let complete = false
      return {
        target: 'MSSQLSvc/localhost',
        get complete() {
          return complete
        },
        flags,
        step: async (token) => {
          complete = token !== undefined
          return { token: complete ? undefined : Buffer.from('A'), complete }
        },
        wrap: () => Buffer.alloc(0),
        unwrap: () => Buffer.alloc(0),
        wrapSizeLimit: () => 0,
        inquire: () => ({ initiator: 'alice', target: 'MSSQLSvc/localhost', lifetimeSeconds: 3600, flags }),
        [Symbol.dispose]: () => undefined,
      }
    },
  }
}

const words = (...texts: readonly string[]): Buffer[] => texts.map((text) => Buffer.from(text))

describe('by tokens of any kind', () => {
  test('of more than 65,535 bytes', async () => {
    const token = Buffer.alloc(150_000, 7)
    const heard: Buffer[] = []
    await using server = await startTdsServer({
      postgres,
      tls: certificate,
      sspi: { acceptor: scriptedAcceptor(words('ok'), 1, heard) },
    })
    const { driver } = testDriver({ port: server.port }, { ca_file: caFile }, { sspi: scripted([token], 1) })
    const { raw } = await open(driver, alice)
    assert.equal(server.journal.logins[0]?.sspiLength, 150_000)
    assert.ok(heard[0]?.equals(token))
    assert.equal(driver.info(raw).user, 'DOMAIN\\user')
    await driver.close(raw)
  })

  test('in several rounds, under every kind of encryption', async () => {
    for (const encrypt of ['true', 'false', 'strict'] as const) {
      const heard: Buffer[] = []
      await using server = await startTdsServer({
        postgres,
        tls: certificate,
        ...(encrypt === 'strict' ? { encryption: 'strict' } : {}),
        sspi: { acceptor: scriptedAcceptor(words('B', 'D', 'F'), 3, heard), reply: 'apart' },
      })
      const sspi = scripted(words('A', 'C', 'E'), 3)
      const { driver } = testDriver({ port: server.port }, { ca_file: caFile, encrypt }, { sspi })
      const { raw } = await open(driver, alice)
      assert.deepEqual(heard.map(String), ['A', 'C', 'E'])
      await driver.close(raw)
      assert.deepEqual(server.complaints, [])
    }
  })

  test('but not without the proof of the server', async () => {
    await using server = await startTdsServer({
      postgres,
      tls: certificate,
      sspi: { acceptor: scriptedAcceptor([], 1, []) },
    })
    const { driver } = testDriver({ port: server.port }, { ca_file: caFile }, { sspi: scripted(words('A'), 1) })
    const error = await failure(open(driver, alice))
    assert.deepEqual([error.code, error.phase], ['SERVER_NOT_GENUINE', 'gss'])
  })

  test('but not by a context that is complete without the proof of the server', async () => {
    for (const flags of [['integrity'], ['integrity', 'mutual']] as const) {
      await using server = await startTdsServer({
        postgres,
        tls: certificate,
        sspi: { acceptor: scriptedAcceptor(words('ok'), 1, []) },
      })
      const sspi = gssSspi({}, async () => gssOf(flags))
      const { driver } = testDriver({ port: server.port }, { ca_file: caFile }, { sspi })
      const logonSession = { kind: 'gss', identity: 'alice', issuedAt: Date.now() } as const
      if (flags.length === 2) {
        const { raw } = await open(driver, logonSession)
        await driver.close(raw)
        continue
      }
      const error = await failure(open(driver, logonSession))
      assert.deepEqual([error.code, error.phase], ['SERVER_NOT_GENUINE', 'gss'])
    }
  })

  test('but never by an NTLM token, which a library may put into SPNEGO', async () => {
    const ntlm = Buffer.from('NTLMSSP\0\u0001')
    for (const round of [0, 1]) {
      const heard: Buffer[] = []
      const acceptor = scriptedAcceptor(words('1', '2'), 2, heard)
      await using server = await startTdsServer({ postgres, tls: certificate, sspi: { acceptor } })
      const sspi = scripted([...(round === 0 ? [] : words('A')), ntlm], 2)
      const { driver } = testDriver({ port: server.port }, { ca_file: caFile }, { sspi })
      const error = await failure(open(driver, alice))
      assert.deepEqual([error.code, error.phase], ['NTLM_REFUSED', 'gss'])
      assert.deepEqual(heard, words(...(round === 0 ? [] : ['A'])))
    }
  })

  test('for the server as the user named it: port, instance, and never an address', async () => {
    await using server = await startTdsServer({
      postgres,
      tls: certificate,
      sspi: { acceptor: scriptedAcceptor(words('ok'), 1, []) },
    })
    const seen: SspiTarget[] = []
    const context = { sspi: scripted(words('A'), 1, seen), lookup: async () => ['127.0.0.1'] }
    const named = { ca_file: caFile, host_name_in_certificate: 'localhost' }
    const { driver } = testDriver({ host: 'DB.example.com', port: server.port }, named, context)
    await driver.close((await open(driver, alice)).raw)
    const [{ channelBindings, ...target }] = seen as [SspiTarget]
    assert.deepEqual(target, { host: 'DB.example.com', port: server.port, instance: undefined, spn: undefined })
    assert.match(channelBindings?.toString('latin1') ?? '', /^tls-unique:/)
  })

  test('that hang or fail end within the time limit, in their phase', async () => {
    await using server = await startTdsServer({
      postgres,
      tls: certificate,
      sspi: { acceptor: scriptedAcceptor(words('ok'), 1, []) },
    })
    const hanging: SspiFactory = async () => ({ step: () => new Promise(() => undefined) })
    const slow = testDriver({ port: server.port }, { ca_file: caFile, connect_timeout: 1.5 }, { sspi: hanging })
    const late = await failure(open(slow.driver, alice))
    assert.deepEqual([late.code, late.phase], ['CONNECT_TIMEOUT', 'gss'])
    let closed = 0
    const failing: SspiFactory = async () => ({
      step: async () => {
        throw new PoolsmithError('No ticket.', { code: 'TICKET_EXPIRED', phase: 'gss' })
      },
      close: () => {
        closed++
      },
    })
    const { driver } = testDriver({ port: server.port }, { ca_file: caFile }, { sspi: failing })
    assert.equal((await failure(open(driver, alice))).code, 'TICKET_EXPIRED')
    assert.equal(closed, 1)
  })
})
