import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nearNames } from '../../../../src/extract/read/near-names.ts'

test('names that were probably meant, nearest first, at most three', () => {
  const tables = ['flights', 'flight_delays', 'airports', 'airport', 'fights', 'x']
  assert.deepEqual(nearNames('FLIGHTS', tables).slice(0, 2), ['flights', 'fights'])
  assert.deepEqual(nearNames('airprots', tables), ['airports'])
  assert.deepEqual(nearNames('delays', tables), ['flight_delays'])
  assert.deepEqual(nearNames('customers', tables), [])
  assert.deepEqual(nearNames('y', tables), ['x'])
  assert.equal(nearNames('a', ['b', 'c', 'd', 'e']).length, 3)
})
