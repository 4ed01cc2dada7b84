/** Logins to the TDS server test double by tokens of any kind and size, and the proof of the server. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { gssSspi } from '../../src/drivers/sqlserver/gss-sspi.ts'
import type { SspiFactory, SspiTarget } from '../../src/drivers/sqlserver/sspi.ts'
import { PoolsmithError } from '../../src/errors.ts'
import type { GssApi, GssFlag } from '../../src/kerberos/gss-api.ts'
import { gssAcceptor } from '../support/gss-acceptor.ts'
import { open, testDriver } from '../support/tds/driver.ts'
import {
  addService,
  alice,
  caFile,
  certificate,
  driverFor,
  failure,
  kdc,
  postgres,
} from '../support/tds/kerberos-server.ts'
import type { SspiAcceptor } from '../support/tds/options.ts'
import { startTdsServer } from '../support/tds/server.ts'

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
