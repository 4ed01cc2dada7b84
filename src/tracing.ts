/**
 * Tracing channels of `node:diagnostics_channel`, for programs that observe: `tracing:poolsmith:<name>:start`, `:end`,
 * `:asyncStart`, `:asyncEnd` and `:error`, as `tracingChannel('poolsmith:<name>')` subscribes to them.
 *
 * Work that no caller asked for runs in a context of its own: it keeps no AsyncLocalStorage of a request alive, and makes no spans.
 */

import { AsyncLocalStorage } from 'node:async_hooks'
import { type TracingChannel, tracingChannel } from 'node:diagnostics_channel'
import type { QueryTrace, TraceContext, Traces } from './trace-types.ts'

export type * from './trace-types.ts'

/** The tracing channels by name. */
export const traces: { readonly [Name in keyof Traces]: TracingChannel<object, Traces[Name] & object> } = {
  connect: tracingChannel('poolsmith:connect'),
  'connect:phase': tracingChannel('poolsmith:connect:phase'),
  acquire: tracingChannel('poolsmith:acquire'),
  query: tracingChannel('poolsmith:query'),
  extract: tracingChannel('poolsmith:extract'),
}

/** Does work, and tells a channel of its beginning and end. The result is not told. */
export function traced<Name extends keyof Traces, T>(
  name: Name,
  context: () => Traces[Name],
  work: (context?: Traces[Name]) => Promise<T>,
): Promise<T> {
  const channel = traces[name]
  if (!channel.hasSubscribers) return work()
  const given = context()
  let result: T
  const done = channel.tracePromise(async () => {
    result = await withinTrace(given, () => work(given))
  }, given)
  return done.then(() => result)
}

/** Does work in the context that a subscriber has set. */
export function withinTrace<T>(context: TraceContext | undefined, work: () => T): T {
  return context?.within === undefined ? work() : context.within(work)
}

/** Tells a channel of the beginning of work that ends elsewhere. @returns tells of its end, once */
export function begin<Name extends keyof Traces>(
  name: Name,
  context: Traces[Name],
): (failure?: { readonly error: unknown }) => void {
  const { start, end, error, asyncStart, asyncEnd } = traces[name]
  start.publish(context)
  end.publish(context)
  return (failure) => {
    if (failure !== undefined) {
      context.error = failure.error
      error.publish(context)
    }
    asyncStart.publish(context)
    asyncEnd.publish(context)
  }
}

/**
 * Tells of a statement, unless it is the pool's own. Call it only while the channel has subscribers.
 *
 * @returns tells of its end
 */
export function beginQuery(context: QueryTrace): (failure?: { readonly error: unknown }) => void {
  return isOwnWork() ? () => undefined : begin('query', context)
}

/** Set while the pool works on a session for itself. */
const ownWork = new AsyncLocalStorage<true>()

/** Whether the present code is the pool's work on a session for itself: a check, a reset, a renewal. */
export function isOwnWork(): boolean {
  return ownWork.getStore() === true
}

/** Of the time when this file was loaded, which no request asked for. */
const snapshot = AsyncLocalStorage.snapshot()

/** Does work that serves no caller in particular, such as opening a session: outside the context of the caller. */
export function inBackground<T>(work: () => T): T {
  return snapshot(work)
}

/** The part of OpenTelemetry's context that says whether there are spans. @opentelemetry/api keeps it on `globalThis`. */
interface ContextManager {
  active(): { setValue(key: symbol, value: unknown): unknown }
  with<T>(context: unknown, work: () => T): T
}
const API = Symbol.for('opentelemetry.js.api.1')
const SUPPRESSED = Symbol.for('OpenTelemetry SDK Context Key SUPPRESS_TRACING')

/** As {@link inBackground}, for statements of the pool's own: instrumentations of the driver make no spans of them. */
export function unobserved<T>(work: () => T): T {
  const { context: manager } = (globalThis as { [API]?: { readonly context?: ContextManager } })[API] ?? {}
  const own = (): T => ownWork.run(true, work)
  if (manager === undefined) return snapshot(own)
  return snapshot(() => manager.with(manager.active().setValue(SUPPRESSED, true), own))
}
