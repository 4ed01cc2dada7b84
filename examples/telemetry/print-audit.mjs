/**
 * The audit log of an engine as log records of OpenTelemetry. A service sends them to its collector; this program prints
 * them, beside the events that a sink of ours has got.
 *
 *     (cd ../.. && npm install && npm pack) && npm install --no-save ../../poolsmith-*.tgz pg
 *     DATABASE=postgres://... node print-audit.mjs
 */

import { context, logs, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { InMemoryLogRecordExporter, LoggerProvider, SimpleLogRecordProcessor } from '@opentelemetry/sdk-logs'
import { TracerProvider } from '@opentelemetry/sdk-trace'
import { createEngine, parseConnection } from 'poolsmith'
import { openTelemetryLogs, withAuditContext } from 'poolsmith/audit'

const exporter = new InMemoryLogRecordExporter()
const provider = new LoggerProvider({ processors: [new SimpleLogRecordProcessor({ exporter })] })
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
trace.setGlobalTracerProvider(new TracerProvider())
logs.setGlobalLoggerProvider(provider)

const emit = openTelemetryLogs(logs.getLogger('poolsmith'))
const events = []
const sink = (event) => {
  events.push(event)
  emit(event)
}
const db = await createEngine(process.env.DATABASE, { pool_size: 1, pool_name: 'sales', audit: { sink } })
await withAuditContext({ requestId: 'r-17', endUser: 'ann', team: 'etl' }, async () => {
  await db.raw('select ? as n', [7])
  await db.raw('select wrong').catch(() => undefined)
})
await db.destroy()
const refused = { ...parseConnection(process.env.DATABASE), password: 'wrong' }
const other = await createEngine(refused, { pool_size: 1, audit: { sink } })
await other.raw('select 1').catch(() => undefined)
await other.destroy()

await provider.forceFlush()
const records = exporter
  .getFinishedLogRecords()
  .map(({ eventName, severityNumber, severityText, attributes, hrTime, instrumentationScope: { name } }) => ({
    eventName,
    severityNumber,
    severityText,
    attributes,
    time: new Date(hrTime[0] * 1000 + Math.round(hrTime[1] / 1e6)).toISOString(),
    scope: name,
  }))
console.log(JSON.stringify({ events, records }, undefined, 2))
