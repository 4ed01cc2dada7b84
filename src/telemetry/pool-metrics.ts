/** Metrics of pools, under the names of the semantic conventions, where these are in development. */

import type { EventName } from '../events.ts'
import type { Listener, Measuring, PoolMeter } from '../pool/events.ts'
import type { PoolStats } from '../pool/types.ts'
import type { Attributes, Histogram, Meter, ObservableCallback } from './api.ts'
import { known, serverAttributes } from './attributes.ts'
import { poolAttribute } from './spans.ts'

/** The buckets that the conventions give to durations of operations, in seconds. */
export const BUCKETS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10]

export interface MeasuredPool {
  readonly name: string
  readonly events: { measure(meter: PoolMeter): Measuring }
  stats(): PoolStats
  on<Name extends EventName>(name: Name, listener: Listener<Name>): unknown
  off<Name extends EventName>(name: Name, listener: Listener<Name>): unknown
}

/** Measures pools; those of one name as one. @returns ends that */
export function tellPools(meter: Meter, pools: readonly MeasuredPool[]): () => void {
  const measurings: Measuring[] = []
  const gauge = (name: string, unit: string, description: string, observe: (pool: MeasuredPool) => Values): Stop => {
    const instrument = meter.createObservableUpDownCounter(`db.client.connection.${name}`, { unit, description })
    const callback: ObservableCallback = (result) => {
      for (const measuring of measurings) measuring.flush()
      // The SDK keeps the last value that it is given for the same attributes, also after a pool has ended.
      const sums = new Map<string, readonly [value: number, attributes: Attributes]>()
      for (const pool of pools) {
        for (const [value, own] of observe(pool)) {
          const attributes = known({ ...poolOf(pool), ...own })
          const key = JSON.stringify(attributes)
          sums.set(key, [(sums.get(key)?.[0] ?? 0) + value, attributes])
        }
      }
      for (const [value, attributes] of sums.values()) result.observe(value, attributes)
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
    gauge('max', '{connection}', 'The greatest number of open connections.', (pool) => {
      const { closed, max } = pool.stats()
      return [[closed ? 0 : max, {}]]
    }),
    gauge('pending_requests', '{request}', 'Acquires that wait.', (pool) => [[pool.stats().waiting, {}]]),
  ]
  for (const pool of pools) {
    const attributes = poolOf(pool)
    const opened: Listener<'connection:opened'> = ({ durationMillis, host, port }) =>
      create.record(durationMillis / 1000, known({ ...attributes, ...serverAttributes({ host, port }) }))
    const late = (): void => timeouts.add(1, attributes)
    const measuring = pool.events.measure({
      waited: (millis) => recordGroup(wait, attributes, millis),
      used: (millis) => recordGroup(use, attributes, millis),
    })
    measurings.push(measuring)
    pool.on('connection:opened', opened)
    pool.on('pool:timeout', late)
    stops.push(() => {
      measuring.end()
      pool.off('connection:opened', opened)
      pool.off('pool:timeout', late)
    })
  }
  return () => {
    for (const stop of stops) stop()
  }
}

type Stop = () => void
type Values = readonly (readonly [value: number, attributes: Attributes])[]

function poolOf({ name }: MeasuredPool): Attributes {
  return poolAttribute({ poolName: name })
}

/** The object in which OpenTelemetry's SDK adds up the values of a histogram that have the same attributes. */
interface Cell {
  record(value: number): void
  toPointValue?(): unknown
}

/** The values that such an object has added up. */
interface Sums {
  count: number
  sum: number
  readonly hasMinMax: boolean
  min: number
  max: number
  readonly buckets: { readonly boundaries: readonly number[]; readonly counts: number[] }
}

/** The part of the SDK's storage that {@link cellsOf} reads. */
interface Storage {
  /** One for each reader, if there is not exactly one. */
  readonly _backingStorages?: readonly Storage[]
  /** Of a view. */
  readonly _attributesProcessor?: { process(attributes: Attributes): Attributes }
  readonly _deltaMetricStorage?: {
    readonly _activeCollectionStorage?: { get(attributes: Attributes): Cell | undefined }
  }
}

/**
 * Records times, which the histogram gets in seconds. The SDK turns the attributes into a text for each value that is
 * recorded, which takes nearly as long as an acquire; here it does so once for a group. An exporter sees the same as if
 * each value were recorded. The context of the caller is not kept, so a view that takes attributes from it does not see it.
 */
export function recordGroup(histogram: Histogram, attributes: Attributes, millis: Float64Array): void {
  // Also creates the cells of these attributes.
  histogram.record((millis[0] as number) / 1000, attributes)
  const one = { record: (seconds: number) => histogram.record(seconds, attributes) }
  for (const cell of cellsOf(histogram, attributes) ?? [one]) addTo(cell, millis)
}

/** Adds the values after the first one to a cell: value by value where its sums cannot be reached. */
function addTo(cell: Cell, millis: Float64Array): void {
  if (millis.length < 2) return
  const sums = sumsOf(cell)
  const before = sums?.count
  cell.record((millis[1] as number) / 1000)
  // The sums themselves and no copy of them: they have counted this value.
  if (sums !== undefined && sums.count - 1 === before) {
    addDirectly(sums, millis)
  } else {
    for (let index = 2; index < millis.length; index++) cell.record((millis[index] as number) / 1000)
  }
}

/** Without the search and the calls of the cell, which take more time than all else that is done for a value. */
function addDirectly(sums: Sums, millis: Float64Array): void {
  const { boundaries, counts } = sums.buckets
  const last = boundaries.length
  let { sum, min, max } = sums
  for (let index = 2; index < millis.length; index++) {
    const seconds = (millis[index] as number) / 1000
    sum += seconds
    if (seconds < min) min = seconds
    if (seconds > max) max = seconds
    let bucket = 0
    while (bucket < last && (boundaries[bucket] as number) < seconds) bucket++
    counts[bucket] = (counts[bucket] as number) + 1
  }
  sums.count += millis.length - 2
  sums.sum = sum
  if (!sums.hasMinMax) return
  sums.min = min
  sums.max = max
}

/** The sums of a cell, where they are kept as the SDK keeps those of its usual histograms. */
function sumsOf(cell: Cell): Sums | undefined {
  const sums = cell.toPointValue?.() as Sums | undefined
  const { boundaries, counts } = sums?.buckets ?? {}
  return Array.isArray(boundaries) && Array.isArray(counts) && counts.length === boundaries.length + 1
    ? sums
    : undefined
}

/** The cells to which a value with these attributes is added; undefined for an SDK that is built in another way. */
function cellsOf(histogram: Histogram, attributes: Attributes): readonly Cell[] | undefined {
  const { _writableMetricStorage: storage } = histogram as { readonly _writableMetricStorage?: Storage }
  if (storage === undefined) return undefined
  const cells: Cell[] = []
  for (const one of storage._backingStorages ?? [storage]) {
    const cell = one._deltaMetricStorage?._activeCollectionStorage?.get(attributes)
    if (cell === undefined || (one._attributesProcessor?.process(attributes) ?? attributes) !== attributes)
      return undefined
    cells.push(cell)
  }
  return cells
}
