import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CachedReader } from '../../../src/stores/cache.ts'
import type { SecretReader } from '../../../src/stores/reader.ts'
import { StoredSecret } from '../../../src/vault/stored-secret.ts'

const signal = AbortSignal.timeout(60_000)
const HOUR_MILLIS = 3_600_000

/** A store whose secret counts how often it was read. */
function counting(): SecretReader {
  let reads = 0
  return {
    distance: 'remote',
    placeOf: (path) => path,
    read: async () => new StoredSecret(String(++reads)),
  }
}

test('a secret is read again after its time, and after the clock was set back', async () => {
  let now = Date.now()
  const cache = new CachedReader(counting(), { ttlMillis: 300_000, graceMillis: 0, now: () => now })
  const read = async (): Promise<string> => (await cache.read('x', { signal })).secret.read(undefined, 'x').reveal()
  assert.deepEqual([await read(), await read()], ['1', '1'])
  now += 300_000
  assert.deepEqual([await read(), await read()], ['2', '2'])
  now -= HOUR_MILLIS
  assert.deepEqual([await read(), await read()], ['3', '3'])
  now += HOUR_MILLIS
  assert.deepEqual([await read(), await read()], ['4', '4'])
  cache.close()
})
