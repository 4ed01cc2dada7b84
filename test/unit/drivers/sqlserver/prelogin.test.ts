import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import * as Prelogin from 'tedious/lib/prelogin-payload.js'
import { NotSqlServer } from '../../../../src/drivers/sqlserver/packets.ts'
import { preloginRequest, readPreloginAnswer } from '../../../../src/drivers/sqlserver/prelogin.ts'
import { ENCRYPT, readPrelogin, writePrelogin } from '../../../support/tds/prelogin.ts'

// CommonJS: what its types call `default` twice is the class itself.
const PreloginPayload = Prelogin.default as unknown as typeof Prelogin.default.default

test('a PRELOGIN request says how to encrypt, and asks for federation only when the login has a token', () => {
  for (const [encryption, byte] of [
    ['off', ENCRYPT.off],
    ['on', ENCRYPT.on],
    ['not-supported', ENCRYPT.notSupported],
  ] as const) {
    const { options, ...read } = readPrelogin(preloginRequest({ encryption, federated: false }))
    assert.deepEqual(read, { encryption: byte, instance: '', fedAuthRequired: undefined, mars: false })
    assert.deepEqual([...options.keys()], [0, 1, 2, 3, 4])
    const federated = preloginRequest({ encryption, federated: true })
    assert.equal(readPrelogin(federated).fedAuthRequired, 1)
    // tedious reads what we write.
    assert.equal(new PreloginPayload(federated).encryption, byte)
  }
})

test('an answer to PRELOGIN is read', () => {
  for (const fedAuthRequired of [false, true]) {
    for (const encryption of ['off', 'on', 'not-supported', 'required'] as const) {
      const byte = { off: 0, on: 1, 'not-supported': 2, required: 3 }[encryption]
      for (const mars of [false, true]) {
        const facts = {
          version: [16, 0, 1000],
          encryption: byte,
          instanceMatches: true,
          fedAuthRequired,
          mars,
        } as const
        assert.deepEqual(readPreloginAnswer(writePrelogin(facts)), { encryption, fedAuthRequired })
      }
    }
  }
})

test('an answer to PRELOGIN that is cut short, or of any other bytes, is no SQL Server’s', () => {
  const whole = writePrelogin({ version: [16, 0, 1000], encryption: 1, instanceMatches: true, fedAuthRequired: true })
  for (let length = 0; length < 30; length++) {
    assert.throws(() => readPreloginAnswer(whole.subarray(0, length)), NotSqlServer, `${length} bytes`)
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        readPreloginAnswer(Buffer.from(bytes))
      } catch (error) {
        assert.ok(error instanceof NotSqlServer, String(error))
      }
    }),
  )
})
