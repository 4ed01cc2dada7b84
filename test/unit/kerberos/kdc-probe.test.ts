import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { test } from 'node:test'
import { application, field, generalizedTime, integer, sequence, tagged } from '../../../src/der.ts'
import { probeKdc } from '../../../src/kerberos/kdc-probe.ts'

for (const transport of ['udp', 'tcp'] as const) {
  test(`${transport}: a KDC whose name cannot be resolved is an error of the call, not the end of the process`, async () => {
    const question = { principal: 'alice', realm: 'TEST.REALM', encryptionTypes: [18] }
    const kdc = { host: 'kdc.nowhere.invalid', port: 88 }
    await assert.rejects(probeKdc(kdc, transport, question, AbortSignal.timeout(10_000)))
  })
}

const error = (...fields: readonly Buffer[]): Buffer => application(30, sequence(...fields))
const TIME = field(4, generalizedTime(new Date()))
const CODE = field(6, integer(25))

test('an answer of something else than a KDC is told as that', async (t) => {
  let answer: Buffer = Buffer.alloc(0)
  const peer = createSocket('udp4').on('message', (_, { port, address }) => peer.send(answer, port, address))
  t.after(() => peer.close())
  peer.bind(0, '127.0.0.1')
  await once(peer, 'listening')
  const probe = () => {
    const kdc = { host: '127.0.0.1', port: peer.address().port }
    const question = { principal: 'alice', realm: 'TEST.REALM', encryptionTypes: [18] }
    return probeKdc(kdc, 'udp', question, AbortSignal.timeout(30_000))
  }
  answer = error(TIME, CODE)
  assert.equal((await probe()).error, 25)
  answer = application(11, sequence(field(0, integer(5))))
  assert.equal((await probe()).error, undefined)
  const others = {
    nothing: Buffer.alloc(0),
    'another protocol': Buffer.from('HTTP/1.1 400 Bad Request'),
    'another message': sequence(integer(1)),
    'an error that is cut off': error(TIME, CODE).subarray(0, 10),
    'an error without a time': error(CODE),
    'a time that is none': error(field(4, tagged(0x18, Buffer.from('now'))), CODE),
    'a code of no length': error(TIME, field(6, tagged(2))),
    'a code of nine bytes': error(TIME, field(6, tagged(2, Buffer.alloc(9, 1)))),
  }
  for (const [what, bytes] of Object.entries(others)) {
    answer = bytes
    await assert.rejects(probe(), { message: 'its answer is not one of a KDC' }, what)
  }
})
