/**
 * A service with the SDK of OpenTelemetry and `poolsmith/telemetry`, for one database. It prints its spans, and its metrics
 * as they are at the end of its pool.
 */

import { createRequire } from 'node:module'
import { createEngine, createMssqlPool } from 'poolsmith'
import { extractTable } from 'poolsmith/extract'
import { observe } from 'poolsmith/telemetry'

const ofTelemetry = createRequire(new URL('../../../examples/telemetry/package.json', import.meta.url))
const { context, metrics, trace } = ofTelemetry('@opentelemetry/api')
const { AsyncLocalStorageContextManager } = ofTelemetry('@opentelemetry/context-async-hooks')
const { AggregationTemporality, InMemoryMetricExporter, MeterProvider, PeriodicExportingMetricReader } =
  ofTelemetry('@opentelemetry/sdk-metrics')
const { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } = ofTelemetry('@opentelemetry/sdk-trace')

const spans = new InMemorySpanExporter()
const points = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
const readers = [new PeriodicExportingMetricReader({ exporter: points, exportIntervalMillis: 3_600_000 })]
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
trace.setGlobalTracerProvider(new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter: spans })] }))
const meters = new MeterProvider({ readers })
metrics.setGlobalMeterProvider(meters)

const { connection, setUp, table } = JSON.parse(process.env.SERVICE)
const first = await createEngine(connection)
await first.raw(setUp)
await first.destroy()
// Its transaction is left open, so the pool rolls it back.
const begin = (session) => session.query?.('begin')
const prepared = { session_init: 'select 8 as n', onSession: begin }
const db = await createEngine(connection, { pool_name: 'sales', ...prepared })
const mssql = connection.type === 'mssql' ? await createMssqlPool(connection, { pool_name: 'sales' }) : undefined
const telemetry = await observe({ pools: mssql === undefined ? [db.pool] : [db.pool, mssql.connections] })
await trace.getTracer('service').startActiveSpan('request', async (request) => {
  await db.raw('/* route: /flights */ select 1 as n')
  const takeAll = async (batches) => {
    for await (const _ of batches);
  }
  await extractTable(db, table, { to: takeAll })
  await mssql
    ?.request()
    .execute('close_day')
    .catch(() => undefined)
  request.end()
})
await meters.forceFlush()
await db.destroy()
await mssql?.close()
await meters.forceFlush()
telemetry.stop()

const all = spans.getFinishedSpans()
const names = new Map(all.map((span) => [span.spanContext().spanId, span.name]))
const told = all.map(({ name, attributes, parentSpanContext }) => ({
  name,
  attributes,
  parent: names.get(parentSpanContext?.spanId),
}))
const measured = points
  .getMetrics()
  .at(-1)
  .scopeMetrics.flatMap(({ metrics: some }) => some)
  .map(({ descriptor: { name }, dataPoints }) => ({
    name,
    points: dataPoints.map(({ attributes, value }) => ({ keys: Object.entries(attributes), value })),
  }))
// A value that is undefined would be lost.
console.log(JSON.stringify({ spans: told, metrics: measured }, (_, value) => (value === undefined ? null : value)))
