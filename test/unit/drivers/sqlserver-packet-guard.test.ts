import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { PacketGuard } from '../../../src/drivers/sqlserver/packet-guard.ts'

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
      const all = Buffer.concat(sizes.map((size, index) => packet(index % 2 === 0 ? 0x04 : 0x12, size)))
      const guard = new PacketGuard()
      let at = 0
      for (let turn = 0; at < all.length; turn++) {
        const next = Math.min(all.length, at + (cuts[turn % cuts.length] ?? 1))
        assert.ok(guard.accepts(all.subarray(at, next)))
        at = next
      }
    }),
    { numRuns: 200 },
  )
})

test('what is no packet is found at its first header', () => {
  assert.equal(new PacketGuard().accepts(Buffer.from('H')), false)
  assert.equal(new PacketGuard().accepts(Buffer.from([0x04, 0x01, 0x00, 0x07, 0, 0, 0, 0])), false)
  assert.equal(new PacketGuard().accepts(Buffer.from([0x04, 0x01, 0xff, 0xff, 0, 0, 0, 0])), false)
  const guard = new PacketGuard()
  assert.equal(guard.accepts(packet(0x04, 100)), true)
  assert.equal(guard.accepts(packet(0x04, 100).subarray(0, 50)), true)
  assert.equal(guard.accepts(Buffer.concat([packet(0x04, 100).subarray(50), Buffer.from('HTTP/1.1')])), false)
})
