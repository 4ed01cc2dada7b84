import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import {
  authenticateMessage,
  ChallengeError,
  channelBindingHash,
  negotiateMessage,
  readChallenge,
} from '../../../../../src/drivers/sqlserver/ntlm/messages.ts'

/** MS-NLMP 4.2.4.3: the CHALLENGE_MESSAGE of the example, and 4.2.4.1.1: NTOWFv2 of User, Domain and Password. */
const CHALLENGE = Buffer.from(
  '4e544c4d53535000020000000c000c003800000033828ae20123456789abcdef000000000000000024002400440000000600701700' +
    '00000f53006500720076006500720002000c0044006f006d00610069006e0001000c0053006500720076006500720000000000',
  'hex',
)
const NTOWF_V2 = Buffer.from('0c868a403bfd7a93a3001ef22ef02e3f', 'hex')

const mac = (key: Buffer, ...data: Buffer[]): Buffer =>
  data.reduce((hmac, part) => hmac.update(part), createHmac('md5', key)).digest()

function field(message: Buffer, at: number): Buffer {
  const offset = message.readUInt32LE(at + 4)
  return message.subarray(offset, offset + message.readUInt16LE(at))
}

/** The challenge with other target information. */
function withTargetInfo(...pairs: readonly (readonly [number, Buffer])[]): Buffer {
  const info = Buffer.concat(
    [...pairs, [0, Buffer.alloc(0)] as const].flatMap(([id, value]) => [u16(id), u16(value.length), value]),
  )
  const message = Buffer.concat([CHALLENGE.subarray(0, 68), info])
  message.writeUInt16LE(info.length, 40)
  message.writeUInt16LE(info.length, 42)
  return message
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16LE(value)
  return bytes
}

function pairsOf(blob: Buffer): Map<number, Buffer> {
  const pairs = new Map<number, Buffer>()
  for (let at = 28; blob.readUInt16LE(at) !== 0; at += 4 + blob.readUInt16LE(at + 2)) {
    pairs.set(blob.readUInt16LE(at), blob.subarray(at + 4, at + 4 + blob.readUInt16LE(at + 2)))
  }
  return pairs
}

function answer(challenge: Buffer, channelBindings?: Buffer): Buffer {
  return authenticateMessage({
    negotiate: negotiateMessage(),
    challenge,
    user: 'User',
    domain: 'Domain',
    password: 'Password',
    workstation: 'COMPUTER',
    targetName: 'MSSQLSvc/db.example.com:1433',
    channelBindings,
    clientChallenge: Buffer.alloc(8, 0xaa),
    now: Date.UTC(2026, 0, 1),
  })
}

const TIME = Buffer.from('0090d336b734c301', 'hex')

describe('authenticateMessage', () => {
  test("the whole NTLMv2 response lies within its field, and its proof holds under MS-NLMP's key", () => {
    const message = answer(CHALLENGE)
    const response = field(message, 20)
    const blob = response.subarray(16)
    assert.deepEqual(response.subarray(0, 16), mac(NTOWF_V2, Buffer.from('0123456789abcdef', 'hex'), blob))
    assert.equal(blob.subarray(0, 8).toString('hex'), '0101000000000000')
    assert.equal(blob.subarray(16, 24).toString('hex'), 'aa'.repeat(8))
    assert.equal(blob.subarray(-4).toString('hex'), '00000000')
    assert.deepEqual(
      [28, 36, 44].map((at) => field(message, at).toString('utf16le')),
      ['Domain', 'User', 'COMPUTER'],
    )
  })

  test('the response to LM is 24 zero bytes, and no session key is exchanged', () => {
    const message = answer(CHALLENGE)
    assert.equal(field(message, 12).toString('hex'), '00'.repeat(24))
    assert.equal(field(message, 52).length, 0)
    assert.equal(message.readUInt32LE(60) & 0x4000_0000, 0, 'NTLMSSP_NEGOTIATE_KEY_EXCH')
  })

  test('without the time of the server the one of this machine is sent, as a FILETIME, and no MIC', () => {
    const message = answer(CHALLENGE)
    const blob = field(message, 20).subarray(16)
    assert.equal(blob.readBigUInt64LE(8), (BigInt(Date.UTC(2026, 0, 1)) + 11_644_473_600_000n) * 10_000n)
    assert.equal(message.subarray(72, 88).toString('hex'), '00'.repeat(16))
    assert.equal(pairsOf(blob).has(6), false)
  })

  test('with the time of the server that time comes back, and a MIC over all three messages', () => {
    const challenge = withTargetInfo([2, Buffer.from('Domain', 'utf16le')], [7, TIME])
    const message = answer(challenge)
    const blob = field(message, 20).subarray(16)
    assert.deepEqual(blob.subarray(8, 16), TIME)
    assert.equal(pairsOf(blob).get(6)?.toString('hex'), '02000000')
    const unsigned = Buffer.from(message).fill(0, 72, 88)
    const sessionKey = mac(NTOWF_V2, field(message, 20).subarray(0, 16))
    assert.deepEqual(message.subarray(72, 88), mac(sessionKey, negotiateMessage(), challenge, unsigned))
  })

  test("the server's own flags stay beside the one for the MIC", () => {
    const flags = Buffer.from('01000000', 'hex')
    const blob = field(answer(withTargetInfo([6, flags], [7, TIME])), 20).subarray(16)
    assert.equal(pairsOf(blob).get(6)?.toString('hex'), '03000000')
  })

  test('the target name and the channel bindings are part of what is proven', () => {
    const bindings = channelBindingHash(Buffer.from('tls-unique:abc'))
    const pairs = pairsOf(field(answer(CHALLENGE, bindings), 20).subarray(16))
    assert.equal(pairs.get(9)?.toString('utf16le'), 'MSSQLSvc/db.example.com:1433')
    assert.deepEqual(pairs.get(10), bindings)
    assert.equal(
      pairsOf(field(answer(CHALLENGE), 20).subarray(16))
        .get(10)
        ?.toString('hex'),
      '00'.repeat(16),
    )
  })
})

describe('readChallenge', () => {
  /** The mark of the end replaced by a pair that is cut short. */
  const damaged = (message: Buffer): Buffer => message.fill(1, message.length - 4)
  const withFlags = (flags: number): Buffer => {
    const message = Buffer.from(CHALLENGE)
    message.writeUInt32LE(flags >>> 0, 20)
    return message
  }
  const right = CHALLENGE.readUInt32LE(20)
  for (const [name, message, reason] of [
    ['no target information', withFlags(right & ~0x0080_0000), /asks for LM or NTLMv1/],
    ['no NTLM', withFlags(right & ~0x200), /asks for LM or NTLMv1/],
    ['no Unicode', withFlags(right & ~1), /Unicode/],
    ['another type of message', Buffer.from(CHALLENGE).fill(1, 8, 9), /is not a CHALLENGE_MESSAGE/],
    ['target information beyond the message', CHALLENGE.subarray(0, -1), /longer than the message/],
    ['target information without its end', damaged(withTargetInfo([2, Buffer.from('ab')])), /without its end/],
    ['empty target information', withTargetInfo(), /empty/],
    ['a time of four bytes', withTargetInfo([7, Buffer.alloc(4)]), /damaged/],
    ['a MIC without a time', withTargetInfo([6, Buffer.from([2, 0, 0, 0])]), /claims a MIC/],
    ['the same pair twice', withTargetInfo([2, Buffer.alloc(2)], [2, Buffer.alloc(2)]), /damaged/],
  ] as const) {
    test(`${name} is refused by name`, () => {
      assert.throws(
        () => readChallenge(message),
        (error) => error instanceof ChallengeError && reason.test(error.reason),
      )
    })
  }

  test('any bytes are read, or refused by a ChallengeError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 0, max: 103 }), (noise, keep) => {
        const message = Buffer.concat([CHALLENGE.subarray(0, keep), noise])
        try {
          readChallenge(message)
        } catch (error) {
          assert.ok(error instanceof ChallengeError, String(error))
        }
      }),
      { numRuns: 2000 },
    )
  })
})
