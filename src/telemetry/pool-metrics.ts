/** Metrics of pools, under the names of the semantic conventions, where these are in development. */

import type { EventName } from '../events.ts'
import type { Listener, PoolMeter } from '../pool/events.ts'
import type { PoolStats } from '../pool/types.ts'
import type { Attributes, Meter, ObservableCallback } from './api.ts'
import { serverAttributes } from './attributes.ts'
import { GroupedHistogram } from './grouped-histogram.ts'
import { poolAttribute } from './spans.ts'

/** The buckets that the conventions give to durations of operations, in seconds. */
export const BUCKETS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10]

export interface MeasuredPool {
  readonly name: string
  readonly events: { measure(meter: PoolMeter): () => void }
  stats(): PoolStats
  on<Name extends EventName>(name: Name, listener: Listener<Name>): unknown
  off<Name extends EventName>(name: Name, listener: Listener<Name>): unknown
}

/** Measures pools. Those that have ended are left out. @returns ends that */
export function tellPools(meter: Meter, pools: readonly MeasuredPool[]): () => void {
  const grouped: GroupedHistogram[] = []
  const flush = (): void => {
    for (const one of grouped) one.flush()
  }
  const gauge = (name: string, unit: string, description: string, observe: (pool: MeasuredPool) => Values): Stop => {
    const instrument = meter.createObservableUpDownCounter(`db.client.connection.${name}`, { unit, description })
    const callback: ObservableCallback = (result) => {
      flush()
      for (const pool of pools) {
        if (pool.stats().closed) continue
        for (const [value, attributes] of observe(pool)) result.observe(value, { ...poolOf(pool), ...attributes })
      }
    }
    instrument.addCallback(callback)
    return () => instrument.removeCallback(callback)
  }
  const histogram = (name: string, description: string) =>
    meter.createHistogram(`db.client.connection.${name}`, {
      unit: 's',
      description,
      advice: { explicitBucketBoundaries: BUCKETS },
    })
  const create = histogram('create_time', 'The time it took to open a connection.')
  const wait = histogram('wait_time', 'The time between asking for a connection and getting it.')
  const use = histogram('use_time', 'The time between getting a connection and returning it.')
  const timeouts = meter.createCounter('db.client.connection.timeouts', {
    unit: '{timeout}',
    description: 'Acquires that were not answered within pool_timeout.',
  })
  const stops = [
    gauge('count', '{connection}', 'Connections that are open.', (pool) => {
      const { idle, total, places } = pool.stats()
      const all = places.length === 0 ? [{ idle, sessions: total }] : places
      return all.flatMap((one): Values => {
        const place = 'host' in one ? serverAttributes(one) : {}
        return [
          [one.idle, { ...place, 'db.client.connection.state': 'idle' }],
          [one.sessions - one.idle, { ...place, 'db.client.connection.state': 'used' }],
        ]
      })
    }),
    gauge('max', '{connection}', 'The greatest number of open connections.', (pool) => [[pool.stats().max, {}]]),
    gauge('pending_requests', '{request}', 'Acquires that wait.', (pool) => [[pool.stats().waiting, {}]]),
  ]
  for (const pool of pools) {
    const attributes = poolOf(pool)
    const opened: Listener<'connection:opened'> = ({ durationMillis, host, port }) =>
      create.record(durationMillis / 1000, { ...attributes, ...serverAttributes({ host, port }) })
    const late = (): void => timeouts.add(1, attributes)
    const waits = new GroupedHistogram(wait, attributes)
    const uses = new GroupedHistogram(use, attributes)
    const endMeasure = pool.events.measure({ waits, uses })
    grouped.push(waits, uses)
    pool.on('connection:opened', opened)
    pool.on('pool:timeout', late)
    stops.push(() => {
      endMeasure()
      pool.off('connection:opened', opened)
      pool.off('pool:timeout', late)
    })
  }
  return () => {
    flush()
    for (const stop of stops) stop()
  }
}

type Stop = () => void
type Values = readonly (readonly [value: number, attributes: Attributes])[]

function poolOf({ name }: MeasuredPool): Attributes {
  return poolAttribute({ poolName: name })
}
