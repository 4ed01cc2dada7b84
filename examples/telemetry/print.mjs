/**
 * Spans and metrics of an engine by OpenTelemetry. A service sends them to its collector; this program prints them.
 *
 *     (cd ../.. && npm install && npm pack) && npm install --no-save ../../poolsmith-*.tgz pg
 *     DATABASE=postgres://... node print.mjs
 */

import { context, metrics, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace'
import { createEngine } from 'poolsmith'
import { observe } from 'poolsmith/telemetry'

const spans = new InMemorySpanExporter()
const points = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
const readers = [new PeriodicExportingMetricReader({ exporter: points, exportIntervalMillis: 3_600_000 })]
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
trace.setGlobalTracerProvider(new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter: spans })] }))
const meters = new MeterProvider({ readers })
metrics.setGlobalMeterProvider(meters)

const db = await createEngine(process.env.DATABASE, { pool_size: 2, max_overflow: 0, pool_name: 'sales' })
const telemetry = await observe({ pools: [db.pool] })

await trace.getTracer('service').startActiveSpan('request', async (request) => {
  await db.raw('select ? as n', [7])
  await db.raw("select 'a secret' as text")
  await db.raw('select wrong').catch(() => undefined)
  // A check of the session: no span comes of it.
  await new Promise((resolve) => setTimeout(resolve, 600))
  await db.raw('select ? as n', [8])
  request.end()
})

await meters.forceFlush()
telemetry.stop()
await db.destroy()
const ids = new Map(spans.getFinishedSpans().map((span) => [span.spanContext().spanId, span.name]))
const told = spans.getFinishedSpans().map(({ name, kind, attributes, parentSpanContext: parent, status }) => ({
  name,
  kind,
  attributes,
  parent: parent && ids.get(parent.spanId),
  failed: status.code === 2,
}))
const measured = points
  .getMetrics()
  .flatMap(({ scopeMetrics }) => scopeMetrics)
  .flatMap(({ metrics: all }) => all)
  .map(({ descriptor: { name, unit }, dataPoints }) => ({
    name,
    unit,
    points: dataPoints.map(({ attributes, value }) => ({ attributes, value: value.count ?? value })),
  }))
console.log(JSON.stringify({ spans: told, metrics: measured }, undefined, 2))
