import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BodyReader, NotPostgres } from '../../../../src/drivers/postgres/messages.ts'
import { keyBounds, negotiatedVersion, protocolVersions } from '../../../../src/drivers/postgres/protocol-version.ts'

const V3_0 = 0x3_0000
const V3_2 = 0x3_0002

function offer(version: number, unknownOptions = 0): BodyReader {
  const body = Buffer.alloc(8)
  body.writeInt32BE(version)
  body.writeInt32BE(unknownOptions, 4)
  return new BodyReader(body)
}

test('3.0 is asked for, and the latest version where more than 3.0 is demanded', () => {
  const asked = (min: '3.0' | '3.2' | 'latest', max?: '3.0' | '3.2' | 'latest') =>
    protocolVersions({ min_protocol_version: min, max_protocol_version: max })
  assert.deepEqual(asked('3.0'), { lowest: V3_0, highest: V3_0 })
  assert.deepEqual(asked('3.2'), { lowest: V3_2, highest: V3_2 })
  assert.deepEqual(asked('3.0', 'latest'), { lowest: V3_0, highest: V3_2 })
})

test('a server may offer a lower version than the one asked for, down to the lowest', () => {
  assert.equal(negotiatedVersion(offer(V3_0), { lowest: V3_0, highest: V3_2 }), V3_0)
  assert.throws(() => negotiatedVersion(offer(V3_0), { lowest: V3_2, highest: V3_2 }), {
    code: 'PROTOCOL_UNSUPPORTED',
    phase: 'login',
    message: /version 3\.0 .*at most/,
  })
  for (const ancient of [0x2_0000, 0, -1]) {
    assert.throws(() => negotiatedVersion(offer(ancient), { lowest: V3_0, highest: V3_0 }), {
      code: 'PROTOCOL_UNSUPPORTED',
    })
  }
})

test('an offer that makes no sense is refused, as in libpq', () => {
  const versions = { lowest: V3_0, highest: V3_2 }
  const wrong = [offer(V3_2), offer(0x3_0003), offer(0x3_0001), offer(V3_0, 1)]
  for (const one of [...wrong, offer(V3_0, -1), new BodyReader(Buffer.alloc(4))]) {
    assert.throws(() => negotiatedVersion(one, versions), NotPostgres)
  }
  assert.throws(() => negotiatedVersion(offer(V3_0), { lowest: V3_0, highest: V3_0 }), NotPostgres)
})

test('a key for cancelling has four bytes in 3.0 and up to 256 later', () => {
  assert.deepEqual(keyBounds(V3_0), { min: 4, max: 4 })
  assert.deepEqual(keyBounds(V3_2), { min: 4, max: 256 })
})
