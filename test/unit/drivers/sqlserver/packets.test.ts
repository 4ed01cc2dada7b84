import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import fc from 'fast-check'
import { StreamClosed, Wire } from '../../../../src/drivers/network/wire.ts'
import { NotSqlServer, packetsOf, readMessage } from '../../../../src/drivers/sqlserver/packets.ts'

const MOST = 1 << 20
const NEVER = new AbortController().signal

test('a message of any length is cut into packets and read again, and no byte behind it is taken', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: 20_000 }), fc.integer({ min: 1, max: 5000 }), async (length, cut) => {
      const body = Buffer.alloc(length, 0x5a)
      const stream = new PassThrough()
      using wire = new Wire(stream, NEVER)
      const bytes = Buffer.concat([packetsOf(0x12, body), Buffer.from('behind')])
      for (let at = 0; at < bytes.length; at += cut) stream.write(bytes.subarray(at, at + cut))
      assert.ok((await readMessage(wire, 0x12, MOST)).equals(body))
      assert.equal((await wire.read(6)).toString(), 'behind')
    }),
    { numRuns: 50 },
  )
})

test('a packet of another type, without a body, or of an impossible length is refused', async () => {
  const packet = (type: number, status: number, length: number): Buffer =>
    Buffer.from([type, status, length >> 8, length & 0xff, 0, 0, 1, 0])
  for (const bytes of [
    packet(0x04, 1, 8),
    packet(0x12, 0, 8),
    packet(0x12, 1, 7),
    packet(0x12, 1, 0),
    Buffer.from('HTTP/1.1 400 Bad Request'),
  ]) {
    const stream = new PassThrough()
    using wire = new Wire(stream, NEVER)
    stream.write(bytes)
    await assert.rejects(readMessage(wire, 0x12, MOST), NotSqlServer)
  }
})

test('a message without an end is refused at a mebibyte, one that breaks off as closed', async () => {
  const piece = packetsOf(0x12, Buffer.alloc(4000))
  piece[1] = 0
  const endless = new PassThrough({ highWaterMark: 1 << 22 })
  using wire = new Wire(endless, NEVER)
  for (let sent = 0; sent < 1 << 21; sent += piece.length) endless.write(piece)
  await assert.rejects(readMessage(wire, 0x12, MOST), NotSqlServer)
  assert.ok(wire.waiting > 0, 'all of it was read')

  const broken = new PassThrough()
  using other = new Wire(broken, NEVER)
  broken.end(piece)
  await assert.rejects(readMessage(other, 0x12, MOST), StreamClosed)
})
