/** Spans of what the tracing channels tell, and the duration of statements. */

import type { TracingChannelSubscribers } from 'node:diagnostics_channel'
import { sanitised } from '../sanitised-sql.ts'
import { type QueryTrace, type TraceContext, type Traces, traces } from '../tracing.ts'
import type { Attributes, Histogram, OpenTelemetryApi, Span, SpanOptions, Tracer } from './api.ts'
import { errorAttributes, known, placeAttributes, sessionAttributes, statementAttributes } from './attributes.ts'

interface Begun {
  readonly span: Span
  readonly at: number
}

interface Described {
  readonly name: string
  readonly options: SpanOptions
  /** The trace that it is a part of, if that is not the caller's. */
  readonly parent?: object
}

/** Subscribes to the channels. @returns ends that */
export function tellSpans(api: OpenTelemetryApi, tracer: Tracer, durations: Histogram): () => void {
  const { CLIENT, INTERNAL } = api.SpanKind
  const begun = new WeakMap<object, Begun>()

  const begin = (context: object, { name, options, parent }: Described): Span => {
    const around = parent && begun.get(parent)?.span
    const active = api.context.active()
    const span = tracer.startSpan(name, options, around === undefined ? active : api.trace.setSpan(active, around))
    begun.set(context, { span, at: performance.now() })
    return span
  }

  /** Makes the statements of its work parts of a span. */
  const haveStatements = (context: TraceContext, span: Span): void => {
    const { within = (work) => work() } = context
    context.within = (work) => api.context.with(api.trace.setSpan(api.context.active(), span), () => within(work))
  }

  const finish = (context: TraceContext, more: Attributes = {}): Begun | undefined => {
    const one = begun.get(context)
    if (one === undefined) return undefined
    begun.delete(context)
    const { span } = one
    span.setAttributes(more)
    if (context.error !== undefined) {
      span.setAttributes(errorAttributes(context.error))
      // Not the message: it may have values of the statement.
      span.setStatus({ code: api.SpanStatusCode.ERROR })
    }
    span.end()
    return one
  }

  const stops = [
    subscribe('connect', {
      start: (context) =>
        begin(context, {
          name: `connect ${context.database ?? context.host ?? context.poolName}`,
          options: { kind: CLIENT, attributes: { ...placeAttributes(context), ...poolAttribute(context) } },
        }),
      asyncEnd: (context) => {
        const { credentialKind, logins } = context
        const own = { 'poolsmith.credential.kind': credentialKind, 'poolsmith.logins': logins }
        finish(context, { ...own, ...sessionAttributes(context) })
      },
    }),
    subscribe('connect:phase', {
      start: (context) => {
        const options = { kind: INTERNAL, attributes: placeAttributes(context) }
        const span = begin(context, { name: context.phase, options, parent: context.connect })
        if (context.phase === 'query') haveStatements(context, span)
      },
      asyncEnd: (context) => void finish(context),
    }),
    subscribe('acquire', {
      start: (context) =>
        begin(context, { name: 'acquire', options: { kind: INTERNAL, attributes: poolAttribute(context) } }),
      asyncEnd: (context) => void finish(context),
    }),
    subscribe('extract', {
      start: (context) => {
        const attributes = { ...placeAttributes(context), 'db.collection.name': context.table }
        const name = context.table === undefined ? 'extract' : `extract ${context.table}`
        const span = begin(context, { name, options: { kind: INTERNAL, attributes } })
        haveStatements(context, span)
      },
      asyncEnd: (context) => {
        finish(context, { 'db.response.returned_rows': context.rows, 'poolsmith.extract.bytes': context.bytes })
      },
    }),
    subscribe('query', {
      start: (context) => {
        const statement = statementAttributes(context)
        const attributes = { ...placeAttributes(context), ...statement, 'db.query.text': textOf(context) }
        const name = String(statement['db.query.summary'] ?? context.system ?? 'query')
        begin(context, { name, options: { kind: CLIENT, attributes } })
      },
      asyncEnd: (context) => {
        const one = finish(context)
        if (one === undefined) return
        const failure = context.error === undefined ? {} : errorAttributes(context.error)
        const attributes = known({ ...placeAttributes(context), ...statementAttributes(context), ...failure })
        durations.record((performance.now() - one.at) / 1000, attributes)
      },
    }),
  ]
  return () => {
    for (const stop of stops) stop()
  }
}

/** A text without parameters is told without its values. The name of a procedure is no text. */
function textOf({ text, hasParameters, procedure, system }: QueryTrace): string | undefined {
  if (procedure !== undefined) return undefined
  return hasParameters ? text : sanitised(text, system)
}

export function poolAttribute({ poolName }: { readonly poolName: string }): Attributes {
  return { 'db.client.connection.pool.name': poolName }
}

function subscribe<Name extends keyof Traces>(
  name: Name,
  handlers: { start(context: Traces[Name]): void; asyncEnd(context: Traces[Name]): void },
): () => void {
  const nothing = (): void => undefined
  const all = { end: nothing, asyncStart: nothing, error: nothing, ...handlers }
  const subscribers = all as unknown as TracingChannelSubscribers<Traces[Name] & object>
  traces[name].subscribe(subscribers)
  return () => traces[name].unsubscribe(subscribers)
}
