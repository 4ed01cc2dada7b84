/** Histograms that are recorded in groups, beside those of OpenTelemetry's SDK that are recorded value by value. */

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Attributes, Histogram, Meter } from '../../src/telemetry/api.ts'
import { BUCKETS, recordGroup } from '../../src/telemetry/pool-metrics.ts'
import { Chance } from '../support/fuzz.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const PAIR = ['grouped', 'single'] as const

interface Metric {
  readonly descriptor: { readonly name: string }
  readonly dataPoints: readonly { readonly attributes: Attributes; readonly value: unknown }[]
}
interface Reader {
  collect(): Promise<{
    readonly resourceMetrics: { readonly scopeMetrics: readonly { readonly metrics: readonly Metric[] }[] }
  }>
  shutdown(): Promise<void>
}
type Sdk = {
  readonly MeterProvider: new (options: {
    readonly readers: readonly Reader[]
    readonly views?: readonly object[]
  }) => { getMeter(name: string): Meter }
  readonly PeriodicExportingMetricReader: new (options: { readonly exporter: object }) => Reader
  readonly InMemoryMetricExporter: new (temporality: number) => object
  readonly createDenyListAttributesProcessor: (names: readonly string[]) => object
}

const sdk = createRequire(join(ROOT, 'examples', 'telemetry', 'package.json'))('@opentelemetry/sdk-metrics') as Sdk
const { MeterProvider, PeriodicExportingMetricReader, InMemoryMetricExporter, createDenyListAttributesProcessor } = sdk
const [DELTA, CUMULATIVE] = [0, 1]

function readerOf(temporality: number): Reader {
  return new PeriodicExportingMetricReader({ exporter: new InMemoryMetricExporter(temporality) })
}

/** The points of each histogram that the exporter of a reader gets. */
async function pointsOf(reader: Reader): Promise<Record<string, Metric['dataPoints']>> {
  const { resourceMetrics } = await reader.collect()
  const all = resourceMetrics.scopeMetrics.flatMap(({ metrics }) => metrics)
  const points = ({ dataPoints }: Metric) => dataPoints.map(({ attributes, value }) => ({ attributes, value }))
  return Object.fromEntries(all.map((metric) => [metric.descriptor.name, points(metric)]))
}

const cases = [
  { title: 'one reader', readers: [CUMULATIVE], recordsEach: false },
  { title: 'two readers', readers: [DELTA, CUMULATIVE], recordsEach: false },
  { title: 'no reader', readers: [], recordsEach: false },
  {
    title: 'a view with other buckets',
    readers: [DELTA],
    views: [{ instrumentName: '*', aggregation: { type: 4, options: { boundaries: [0.2, 0.4] } } }],
    recordsEach: false,
  },
  {
    title: 'a view without the least and the greatest value',
    readers: [CUMULATIVE],
    views: [{ instrumentName: '*', aggregation: { type: 4, options: { boundaries: [0.5], recordMinMax: false } } }],
    recordsEach: false,
  },
  {
    title: 'a view with exponential buckets',
    readers: [DELTA],
    views: [{ instrumentName: '*', aggregation: { type: 5 } }],
    recordsEach: false,
  },
  {
    title: 'a view with the sum alone',
    readers: [CUMULATIVE],
    views: [{ instrumentName: '*', aggregation: { type: 2 } }],
    recordsEach: false,
  },
  {
    title: 'a view that changes the attributes',
    readers: [CUMULATIVE],
    views: [{ instrumentName: '*', attributesProcessors: [createDenyListAttributesProcessor(['pool'])] }],
    recordsEach: true,
  },
  {
    title: 'a view that keeps few attributes apart',
    readers: [CUMULATIVE],
    views: [{ instrumentName: '*', aggregationCardinalityLimit: 2 }],
    recordsEach: true,
  },
]

for (const { title, readers: temporalities, views, recordsEach } of cases) {
  test(`an exporter sees the same of values that are recorded in groups: ${title}`, async () => {
    const chance = new Chance(42)
    const readers = temporalities.map(readerOf)
    const meter = new MeterProvider({ readers, ...(views && { views }) }).getMeter('pools')
    const [first, second] = PAIR.map((name) =>
      meter.createHistogram(name, { description: '', unit: 's', advice: { explicitBucketBoundaries: BUCKETS } }),
    ) as [Histogram, Histogram]
    let records = 0
    const counted: Histogram = Object.assign(Object.create(first) as Histogram, {
      record: (value: number, attributes?: Attributes) => {
        records++
        first.record(value, attributes)
      },
    })
    const pools = ['sales', 'stock'].map((pool) => ({ pool }))
    let values = 0
    for (const count of [1, 1024, 2, 1024, 513]) {
      // An eighth of a second, so that a sum is the same in any order.
      const group = Float64Array.from({ length: count }, () => chance.below(2) * chance.below(20) * 125)
      for (const attributes of pools) {
        recordGroup(counted, attributes, group)
        for (const millis of group) second.record(millis / 1000, attributes)
        values += count
      }
      for (const reader of readers) {
        const { grouped, single } = await pointsOf(reader)
        assert.deepEqual(grouped, single)
      }
    }
    // A new version of the SDK that keeps its sums elsewhere would be recorded value by value: right, but slow.
    if (recordsEach) assert.ok(records > values / 2)
    else assert.ok(records < values / 100, `${records} calls for ${values} values`)
    for (const reader of readers) await reader.shutdown()
  })
}
