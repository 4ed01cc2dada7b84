import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { PacketGuard } from '../../../../src/drivers/sqlserver/packet-guard.ts'
import { NotSqlServer } from '../../../../src/drivers/sqlserver/packets.ts'

function packet(type: number, length: number): Buffer {
  const bytes = Buffer.alloc(length, 0x48)
  bytes[0] = type
  bytes.writeUInt16BE(length, 2)
  return bytes
}

test('packets pass, however they are cut', () => {
  const lengths = fc.array(fc.integer({ min: 8, max: 5000 }), { minLength: 1, maxLength: 20 })
  fc.assert(
    fc.property(lengths, fc.array(fc.integer({ min: 1, max: 4000 }), { minLength: 1 }), (sizes, cuts) => {
      const all = Buffer.concat(sizes.map((size) => packet(0x04, size)))
      const guard = new PacketGuard()
      let at = 0
      for (let turn = 0; at < all.length; turn++) {
        const next = Math.min(all.length, at + (cuts[turn % cuts.length] ?? 1))
        guard.accept(all.subarray(at, next))
        at = next
      }
    }),
    { numRuns: 200 },
  )
})

test('what is no packet is found at its first header', () => {
  const refuses = (guard: PacketGuard, bytes: Buffer): void => assert.throws(() => guard.accept(bytes), NotSqlServer)
  refuses(new PacketGuard(), Buffer.from('H'))
  refuses(new PacketGuard(), packet(0x12, 100))
  refuses(new PacketGuard(), Buffer.from([0x04, 0x01, 0x00, 0x07, 0, 0, 0, 0]))
  refuses(new PacketGuard(), Buffer.from([0x04, 0x01, 0xff, 0xff, 0, 0, 0, 0]))
  const guard = new PacketGuard()
  guard.accept(packet(0x04, 100))
  guard.accept(packet(0x04, 100).subarray(0, 50))
  refuses(guard, Buffer.concat([packet(0x04, 100).subarray(50), Buffer.from('HTTP/1.1')]))
})

test('an answer to a login ends at a mebibyte, and rows do not', () => {
  const guard = new PacketGuard()
  const piece = packet(0x04, 32_000)
  assert.throws(() => {
    for (let sent = 0; sent < 2 ** 21; sent += piece.length) guard.accept(piece)
  }, NotSqlServer)
  const standing = new PacketGuard()
  standing.liftLimit()
  for (let sent = 0; sent < 2 ** 23; sent += piece.length) standing.accept(piece)
})

test('a size of packets is refused below 512 and above 32767 bytes', () => {
  for (const size of [512, 4096, 32_767]) new PacketGuard().grant(size)
  for (const size of [-1, 0, 8, 511, 32_768, 512.5, Number.NaN]) {
    assert.throws(() => new PacketGuard().grant(size), NotSqlServer, String(size))
  }
})

test('a packet that is larger than the server has granted is refused', () => {
  const guard = new PacketGuard()
  guard.accept(packet(0x04, 5000))
  guard.grant(4096)
  guard.accept(packet(0x04, 4096))
  assert.throws(() => guard.accept(packet(0x04, 4097)), /a packet of 4097 bytes, where 4096 were agreed on/)
})
