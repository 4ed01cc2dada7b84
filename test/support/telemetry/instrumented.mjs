/**
 * A service whose drivers OpenTelemetry's own instrumentations have wrapped, with `poolsmith/telemetry` beside them. It
 * prints its spans as JSON.
 */

import { createRequire } from 'node:module'
import { createEngine } from 'poolsmith'
import { observe } from 'poolsmith/telemetry'

const require = createRequire(import.meta.url)
const ofTelemetry = createRequire(new URL('../../../examples/telemetry/package.json', import.meta.url))
const { context, trace } = ofTelemetry('@opentelemetry/api')
const { AsyncLocalStorageContextManager } = ofTelemetry('@opentelemetry/context-async-hooks')
const { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } = ofTelemetry('@opentelemetry/sdk-trace')
const { PgInstrumentation } = ofTelemetry('@opentelemetry/instrumentation-pg')
const { TediousInstrumentation } = ofTelemetry('@opentelemetry/instrumentation-tedious')

const spans = new InMemorySpanExporter()
const tracers = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter: spans })] })
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
trace.setGlobalTracerProvider(tracers)
for (const one of [new PgInstrumentation(), new TediousInstrumentation()]) one.setTracerProvider(tracers)
// The hooks of the instrumentations see what is required.
for (const driver of ['pg', 'tedious']) require(driver)

const pools = { pool_size: 1, max_overflow: 0, pool_reset_on_return: 'full' }
const db = await createEngine(process.env.DATABASE, pools)
const telemetry = await observe({ pools: [db.pool] })
await trace.getTracer('service').startActiveSpan('request', async (request) => {
  await db.raw('select ? as n', [7])
  // Old enough to be pinged.
  await new Promise((resolve) => setTimeout(resolve, 600))
  await db.raw('select ? as n', [8])
  request.end()
})
await db.destroy()
telemetry[Symbol.dispose]()

const all = spans.getFinishedSpans()
const names = new Map(all.map((span) => [span.spanContext().spanId, span.name]))
const told = all.map(({ name, instrumentationScope, attributes, parentSpanContext }) => ({
  name,
  scope: instrumentationScope.name,
  text: attributes['db.query.text'] ?? attributes['db.statement'],
  parent: names.get(parentSpanContext?.spanId),
}))
console.log(JSON.stringify(told))
