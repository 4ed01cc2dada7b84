import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConnectionPool } from '../../../src/pool/pool.ts'
import type { Meter, ObservableCallback } from '../../../src/telemetry/api.ts'
import { observe } from '../../../src/telemetry/index.ts'
import { tellPools } from '../../../src/telemetry/pool-metrics.ts'
import { FakeDriver, FakeSource } from '../../support/fake-driver.ts'
import { setUp } from '../pool/set-up.ts'

/** A meter that has the public interface alone. */
function listMeter() {
  const recorded: Record<string, number[]> = {}
  const callbacks = new Set<ObservableCallback>()
  const meter: Meter = {
    createHistogram: (name) => {
      const values: number[] = []
      recorded[name] = values
      return { record: (value) => void values.push(value) }
    },
    createCounter: () => ({ add: () => undefined }),
    createObservableUpDownCounter: () => ({
      addCallback: (callback) => void callbacks.add(callback),
      removeCallback: (callback) => void callbacks.delete(callback),
    }),
  }
  /** @returns what is observed: connections idle and used, the most, and callers that wait */
  const collect = (): readonly number[] => {
    const observed: number[] = []
    for (const callback of callbacks) callback({ observe: (value) => void observed.push(value) })
    return observed
  }
  return { meter, recorded, collect, callbacks }
}

test('every wait and use is recorded by the time of a collection, and none is after the end', async (t) => {
  const { pool, clock } = setUp(t)
  const { meter, recorded, collect, callbacks } = listMeter()
  const stop = tellPools(meter, [pool])
  for (let millis = 0; millis < 1100; millis++) {
    const raw = await pool.acquire().promise
    await clock.advance(millis, 1000)
    pool.release(raw)
  }
  collect()
  const waits = recorded['db.client.connection.wait_time']
  assert.deepEqual(waits, Array.from({ length: 1100 }).fill(0))
  assert.deepEqual(
    recorded['db.client.connection.use_time'],
    Array.from({ length: 1100 }, (_, millis) => millis / 1000),
  )
  pool.release(await pool.acquire().promise)
  assert.equal(waits.length, 1100)
  stop()
  assert.equal(waits.length, 1101, 'what has gathered is recorded at the end')
  pool.release(await pool.acquire().promise)
  assert.equal(callbacks.size, 0)
  collect()
  assert.equal(waits.length, 1101)
})

test('two observers of one pool are told the same', async (t) => {
  const { pool } = setUp(t)
  const [one, other] = [listMeter(), listMeter()]
  const stops = [one, other].map(({ meter }) => tellPools(meter, [pool]))
  pool.release(await pool.acquire().promise)
  for (const stop of stops) stop()
  assert.deepEqual(one.recorded, other.recorded)
  assert.equal(one.recorded['db.client.connection.use_time']?.length, 1)
})

test('pools of one name are counted as one, and one that has ended has no connections', async (t) => {
  const { pool: one, clock } = setUp(t, { pool_size: 2, max_overflow: 0 })
  const parts = { driver: new FakeDriver(), source: new FakeSource(), options: { pool_size: 3, max_overflow: 0 } }
  const other = new ConnectionPool({ now: clock.now, random: () => 0, ...parts })
  const { meter, collect } = listMeter()
  const stop = tellPools(meter, [one, other])
  const raw = await one.acquire().promise
  assert.deepEqual(collect(), [0, 1, 5, 0])
  one.release(raw)
  await one.destroy()
  assert.deepEqual(collect(), [0, 0, 3, 0])
  await other.destroy()
  assert.deepEqual(collect(), [0, 0, 0, 0])
  stop()
})

test('observe says what is no pool, before anything is told', async (t) => {
  const { pool } = setUp(t)
  const refusal = { code: 'CONFIG_INVALID', message: /pools\[1\]: is not a pool/, hint: /db\.pool/ }
  await assert.rejects(observe({ pools: [pool, { pool } as never] }), refusal)
  await assert.rejects(observe({ pools: pool as never }), { message: /pools: expected an array/ })
})
