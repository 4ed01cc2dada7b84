/**
 * A service whose knex OpenTelemetry's instrumentation has wrapped by the hook for ES modules, as `--import` of its
 * documentation sets it up. It prints its spans as JSON.
 */

import { createRequire, register } from 'node:module'
import { pathToFileURL } from 'node:url'

const folder = new URL('../../../examples/telemetry/package.json', import.meta.url)
const ofTelemetry = createRequire(folder)
register(pathToFileURL(ofTelemetry.resolve('@opentelemetry/instrumentation/hook.mjs')))
const { context, trace } = ofTelemetry('@opentelemetry/api')
const { AsyncLocalStorageContextManager } = ofTelemetry('@opentelemetry/context-async-hooks')
const { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } = ofTelemetry('@opentelemetry/sdk-trace')
const { KnexInstrumentation } = ofTelemetry('@opentelemetry/instrumentation-knex')

const spans = new InMemorySpanExporter()
const tracers = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter: spans })] })
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
trace.setGlobalTracerProvider(tracers)
new KnexInstrumentation().setTracerProvider(tracers)

const { createEngine } = await import('poolsmith')
const db = await createEngine(process.env.DATABASE, { pool_size: 1, max_overflow: 0 })
await trace.getTracer('service').startActiveSpan('request', async (request) => {
  await db.raw('select ? as n', [7])
  request.end()
})
await db.destroy()
const names = spans
  .getFinishedSpans()
  .map(({ instrumentationScope, attributes }) => [instrumentationScope.name, attributes])
console.log(JSON.stringify(names))
