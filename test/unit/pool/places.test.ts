import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PoolsmithError } from '../../../src/errors.ts'
import { Place } from '../../../src/hosts/place.ts'
import { FakeDriver } from '../../support/fake-driver.ts'
import { settled } from '../../support/held-clock.ts'
import { setUp } from './set-up.ts'

test('a pool tells of its places, and no more after its end', async (t) => {
  const driver = Object.assign(new FakeDriver(), { places: [new Place({ host: 'db1', port: 5432 })] })
  const { pool, clock } = setUp(t, { pool_name: 'sales' }, { driver })
  const told: unknown[] = []
  pool.on('place:down', ({ poolName, host, port }) => told.push([poolName, host, port]))
  const [place] = driver.places as [Place]
  const down = new PoolsmithError('No.', { code: 'CONNECT_REFUSED', phase: 'connect' })
  place.failed(down)
  assert.deepEqual(told, [['sales', 'db1', 5432]])
  place.answered()
  const ended = pool.destroy()
  await clock.advance(100)
  await ended
  await settled()
  place.failed(down)
  assert.equal(told.length, 1)
})
