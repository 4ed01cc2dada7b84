import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { test } from 'node:test'
import type { GssIdentity } from '../../../../src/drivers/postgres/gss-identity.ts'
import { GssSetupFailed, gssTransport } from '../../../../src/drivers/postgres/gss-transport.ts'
import type { GssContext, GssFlag } from '../../../../src/kerberos/gss-api.ts'

/** A server that is ready to encrypt. */
function willing(): Duplex {
  return new Duplex({
    read: () => undefined,
    write(_chunk, _encoding, done) {
      this.push('G')
      done()
    },
  })
}

/** A mechanism that is content at once, with these flags. */
function identity(flags: readonly GssFlag[]): GssIdentity {
  const context: Partial<GssContext> = {
    target: 'postgres@db',
    flags,
    step: async () => ({ token: undefined, complete: true }),
    wrapSizeLimit: () => 16_000,
    inquire: () => ({ initiator: 'alice@REALM', target: 'postgres/db@REALM', lifetimeSeconds: 60, flags }),
    [Symbol.dispose]: () => undefined,
  }
  return { context: () => context } as unknown as GssIdentity
}

const ALL: readonly GssFlag[] = ['mutual', 'replay', 'sequence', 'confidentiality', 'integrity']

test('a session that would lack any of its protections is none', async () => {
  for (const lacking of ALL) {
    const stream = willing()
    const given = identity(ALL.filter((flag) => flag !== lacking))
    await assert.rejects(gssTransport(stream, given, AbortSignal.timeout(10_000)), (error: unknown) => {
      assert.ok(error instanceof GssSetupFailed)
      assert.match(String(error.cause), new RegExp(`would lack: ${lacking}`))
      return true
    })
    stream.destroy()
  }
  const stream = willing()
  const { encryption } = await gssTransport(stream, identity(ALL), AbortSignal.timeout(10_000))
  assert.equal(encryption.kind, 'gss')
  stream.destroy()
})
