/** Attributes of the semantic conventions for databases (OpenTelemetry, "Semantic conventions for database client calls"). */

import { isIP } from 'node:net'
import { errorCode, isError } from '../any-error.ts'
import type { EventOrigin } from '../events.ts'
import type { ConnectTrace, QueryTrace, TraceContext } from '../tracing.ts'
import type { Attributes } from './api.ts'

const DEFAULT_PORTS = { postgresql: 5432, 'microsoft.sql_server': 1433 } as const

/** Where a session goes. The port is given if it is not the default one. */
export function placeAttributes(context: Omit<TraceContext, 'poolName'>): Attributes {
  const { system, database } = context
  return { 'db.system.name': system, 'db.namespace': database, ...serverAttributes(context) }
}

/** A server. The port is given if it is not the default one. */
export function serverAttributes({ system, host, port }: Partial<EventOrigin>): Attributes {
  const isDefault = system !== undefined && port === DEFAULT_PORTS[system]
  return { 'server.address': host, 'server.port': isDefault ? undefined : port }
}

/** The server of a list that a session was opened at, in place of the whole list. */
export function sessionAttributes({ place, system }: ConnectTrace): Attributes {
  if (place === undefined) return {}
  return {
    ...serverAttributes({ ...place, system }),
    'network.peer.address': peerAddress(place.address),
    'poolsmith.place.role': place.role,
  }
}

/** An IP address or the path of a socket. Where a proxy resolves the name of the server, its address is not known. */
function peerAddress(address: string | undefined): string | undefined {
  return address !== undefined && (isIP(address) > 0 || /^[/@]/.test(address)) ? address : undefined
}

/** The SQLSTATE, the number of SQL Server's error, or the code of ours or of the system's. */
export function errorAttributes(error: unknown): Attributes {
  const status = statusCode(error)
  return { 'error.type': status ?? errorCode(error) ?? nameOf(error), 'db.response.status_code': status }
}

function statusCode(error: unknown): string | undefined {
  const { number, code, details } = (error ?? {}) as {
    readonly number?: unknown
    readonly code?: unknown
    readonly details?: { readonly sqlstate?: unknown; readonly number?: unknown }
  }
  const given = number ?? details?.number ?? details?.sqlstate
  if (given !== undefined) return String(given)
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && /\d/.test(code) ? code : undefined
}

function nameOf(error: unknown): string {
  return isError(error) ? error.name : '_OTHER'
}

/** A statement in short, for the name of its span and for metrics. */
export function statementAttributes({ text, procedure }: Pick<QueryTrace, 'text' | 'procedure'>): Attributes {
  if (procedure === undefined) return { 'db.query.summary': querySummary(text) }
  return {
    'db.query.summary': `EXECUTE ${procedure}`,
    'db.operation.name': 'EXECUTE',
    'db.stored_procedure.name': procedure,
  }
}

/** Comments and parentheses may precede the first word. No text matches in two ways, so that a long one takes no time. */
const FIRST_WORD = /^(?:[\s(]|--[^\n]*\n|\/\*[^*]*\*+(?:[^/*][^*]*\*+)*\/)*([a-z]{2,20})\b/i

/** The first word of a statement, in capitals: its short form for the name of a span. */
export function querySummary(text: string): string | undefined {
  return FIRST_WORD.exec(text)?.[1]?.toUpperCase()
}

/** Without those that are not known: a metric would be exported with an empty value for each. */
export function known(attributes: Attributes): Attributes {
  return Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== undefined))
}
