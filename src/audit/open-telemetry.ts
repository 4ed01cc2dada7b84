import type { AuditEvent } from './line.ts'

/** The part of a `Logger` of OpenTelemetry's API of logs that is called. */
export interface OpenTelemetryLogger {
  emit(record: {
    eventName: string
    timestamp: number
    severityNumber: number
    severityText: string
    attributes: Record<string, string | number | boolean | string[]>
  }): void
}

/** SeverityNumber of OpenTelemetry's data model of logs. */
const INFO = { severityNumber: 9, severityText: 'INFO' } as const
const WARN = { severityNumber: 13, severityText: 'WARN' } as const

/** By the semantic conventions; all other properties are `poolsmith.<name>`. */
const NAMES: Readonly<Record<string, string>> = {
  system: 'db.system.name',
  database: 'db.namespace',
  operation: 'db.operation.name',
  query: 'db.query.text',
  rows: 'db.response.returned_rows',
  code: 'error.type',
  host: 'server.address',
  end_user: 'enduser.id',
  os_user: 'process.owner',
  machine: 'host.name',
  pid: 'process.pid',
}

/**
 * A function as `sink` that gives each event to OpenTelemetry as a log record: `eventName` is `poolsmith.data_access` and so
 * on, what failed or was denied has the severity WARN. Under `required` only the call is waited for.
 *
 * @example
 * // logs: of the package @opentelemetry/api, or of @opentelemetry/api-logs for an older SDK
 * const sink = openTelemetryLogs(logs.getLogger('poolsmith'))
 * await using db = await createEngine('sales', { audit: { sink } })
 */
export function openTelemetryLogs(logger: OpenTelemetryLogger): (event: AuditEvent) => void {
  return ({ time, event, ...facts }) => {
    const isGood = facts['outcome'] !== 'failure' && facts['outcome'] !== 'denied'
    logger.emit({
      eventName: `poolsmith.${event}`,
      timestamp: Date.parse(time),
      ...(isGood ? INFO : WARN),
      attributes: attributesOf(facts),
    })
  }
}

function attributesOf(facts: Readonly<Record<string, unknown>>): Record<string, string | number | boolean | string[]> {
  const attributes: Record<string, string | number | boolean | string[]> = {}
  const { tables, context, ...rest } = facts
  for (const [name, value] of Object.entries(rest)) {
    attributes[NAMES[name] ?? `poolsmith.${name}`] = plain(value)
  }
  for (const [name, value] of Object.entries(context ?? {})) attributes[`poolsmith.context.${name}`] = plain(value)
  if (Array.isArray(tables) && tables.length === 1) attributes['db.collection.name'] = String(tables[0])
  else if (Array.isArray(tables) && tables.length > 1) attributes['poolsmith.tables'] = tables.map(String)
  return attributes
}

function plain(value: unknown): string | number | boolean | string[] {
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'string') return value
  return Array.isArray(value) ? value.map(String) : JSON.stringify(value)
}
