import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import * as Login7 from 'tedious/lib/login7-payload.js'
import { acknowledgedVersion, splitLoginReply, withSspi } from '../../../../src/drivers/sqlserver/login-bytes.ts'
import { readLogin7 } from '../../../support/tds/login7.ts'
import {
  DONE,
  doneToken,
  envText,
  errorToken,
  featureExtAck,
  loginAck,
  sspiToken,
} from '../../../support/tds/tokens.ts'

// CommonJS: what its types call `default` twice is the class itself.
const Login7Payload = Login7.default as unknown as typeof Login7.default.default

function login7(database: string): Buffer {
  const payload = new Login7Payload({
    tdsVersion: 0x74000004,
    packetSize: 4096,
    clientProgVer: 0,
    clientPid: 1,
    connectionId: 0,
    clientTimeZone: 0,
    clientLcid: 0x409,
  })
  payload.hostname = 'worker'
  payload.serverName = 'db.example.com'
  payload.appName = 'poolsmith'
  payload.libraryName = 'Tedious'
  payload.language = 'us_english'
  payload.database = database
  return payload.toBuffer()
}

test('a GSS token of any length finds its place in LOGIN7', () => {
  for (const length of [1, 3000, 65_534, 65_535, 65_536, 200_000]) {
    const token = Buffer.alloc(length, 0x5a)
    const message = readLogin7(withSspi(login7('sales'), token))
    assert.ok(message.sspi.equals(token), `${length} bytes`)
    assert.equal(message.integratedSecurity, true)
    assert.equal(message.database, 'sales')
    assert.equal(message.hostName, 'worker')
    assert.equal(message.newPassword, '')
    // The list of features behind it is found too.
    assert.deepEqual(message.features, [0x0a])
  }
})

test('whatever the token and the database, LOGIN7 reads back', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 5000 }), fc.string({ minLength: 1, maxLength: 60 }), (bytes, database) => {
      const message = readLogin7(withSspi(login7(database), Buffer.from(bytes)))
      assert.deepEqual([...message.sspi], [...bytes])
      assert.equal(message.database, database)
    }),
    { numRuns: 100 },
  )
})

test('GSS tokens are taken out of an answer, and the rest stays in order', () => {
  const ack = loginAck(0x74000004, 'Server', [16, 0, 1000])
  const others = [
    envText('database', 'sales', 'master'),
    errorToken({ number: 5701, state: 1, class: 0, message: 'x' }, 'S', true),
    ack,
    featureExtAck([
      [2, Buffer.alloc(0)],
      [10, Buffer.from([1])],
    ]),
    doneToken(DONE.final),
  ]
  const one = Buffer.from('first token')
  const two = Buffer.from('second')
  const message = Buffer.concat([sspiToken(one), ...others.slice(0, 3), sspiToken(two), ...others.slice(3)])
  const { sspi, rest } = splitLoginReply(message)
  assert.deepEqual(sspi.map(String), ['first token', 'second'])
  assert.ok(rest.equals(Buffer.concat(others)))
  assert.deepEqual(splitLoginReply(Buffer.alloc(0)).sspi, [])
})

test('the version in LOGINACK is found, also where shorter tokens follow it', () => {
  const info = errorToken({ number: 5701, state: 2, class: 0, message: 'context' }, 'server', true)
  const ack = loginAck(0x7100_0001, 'SQL Server', [8, 0, 760])
  // DONE of TDS 7.1 has four bytes less.
  const short = doneToken(DONE.final).subarray(0, 9)
  assert.equal(acknowledgedVersion(Buffer.concat([info, ack, short])), 0x7100_0001)
  assert.equal(acknowledgedVersion(Buffer.concat([info, doneToken(DONE.error)])), undefined)
})

test('an answer that is damaged is a RangeError, wherever it is cut', () => {
  const message = Buffer.concat([sspiToken(Buffer.alloc(20)), loginAck(0x74000004, 'S', [1, 0, 0]), doneToken(0)])
  const whole = new Set([0, 23, message.length - 13, message.length])
  for (let length = 0; length <= message.length; length++) {
    if (whole.has(length)) continue
    assert.throws(() => splitLoginReply(message.subarray(0, length)), RangeError, `${length} bytes`)
  }
  assert.throws(() => splitLoginReply(Buffer.from('HTTP/1.1')), RangeError)
})
