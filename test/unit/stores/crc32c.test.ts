import assert from 'node:assert/strict'
import { test } from 'node:test'
import { crc32c } from '../../../src/stores/google/crc32c.ts'

test('the checksum of the vectors in RFC 3720 is theirs', () => {
  assert.equal(crc32c(new Uint8Array(32)), 0x8a9136aa)
  assert.equal(crc32c(new Uint8Array(32).fill(0xff)), 0x62a8ab43)
  assert.equal(crc32c(Uint8Array.from({ length: 32 }, (_, index) => index)), 0x46dd794e)
  assert.equal(crc32c(Buffer.from('123456789')), 0xe3069283)
})
