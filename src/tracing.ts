/**
 * Tracing channels of `node:diagnostics_channel`, for programs that observe: `tracing:poolsmith:<name>:start`, `:end`,
 * `:asyncStart`, `:asyncEnd` and `:error`, as `tracingChannel('poolsmith:<name>')` subscribes to them.
 *
 * What nobody asked for runs in a context of its own: it keeps no AsyncLocalStorage of a request alive, and makes no spans.
 */

import { AsyncLocalStorage } from 'node:async_hooks'
import { type TracingChannel, tracingChannel } from 'node:diagnostics_channel'
import type { Phase } from './errors.ts'
import type { EventOrigin } from './events.ts'

/** What every trace tells: the pool. `error` is set when it failed. */
export interface TraceContext extends EventOrigin {
  /** Undefined where the server chooses it. */
  readonly database: string | undefined
  error?: unknown
}

/** One attempt to open a session. */
export interface ConnectTrace extends TraceContext {
  /** Of the last login; undefined before there is a credential. */
  credentialKind?: string | undefined
  identity?: string | undefined
  /** Logins so far: more than one when a credential was refused. */
  logins: number
}

/** A step of an attempt. */
export interface PhaseTrace extends TraceContext {
  readonly phase: Phase
  /** The attempt that it belongs to: the same object as in its own trace. */
  readonly connect: ConnectTrace
}

/** The traces by name: `connect`, its steps, and an acquire that had to wait. */
export interface Traces {
  readonly connect: ConnectTrace
  readonly 'connect:phase': PhaseTrace
  readonly acquire: TraceContext
}

/** The tracing channels by name. */
export const traces: { readonly [Name in keyof Traces]: TracingChannel<unknown, Traces[Name] & object> } = {
  connect: tracingChannel('poolsmith:connect'),
  'connect:phase': tracingChannel('poolsmith:connect:phase'),
  acquire: tracingChannel('poolsmith:acquire'),
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
    result = await work(given)
  }, given)
  return done.then(() => result)
}

/** Tells of the steps of one attempt, each of which ends when the next begins. */
export class PhaseTracer {
  readonly #connect: ConnectTrace
  #current: PhaseTrace | undefined

  constructor(connect: ConnectTrace) {
    this.#connect = connect
  }

  enter(phase: Phase): void {
    this.end()
    const { start, end } = traces['connect:phase']
    const { poolName, system, host, port, database } = this.#connect
    const context: PhaseTrace = { poolName, system, host, port, database, phase, connect: this.#connect }
    this.#current = context
    start.publish(context)
    end.publish(context)
  }

  end(failure?: { readonly error: unknown }): void {
    const context = this.#current
    if (context === undefined) return
    this.#current = undefined
    const { error, asyncStart, asyncEnd } = traces['connect:phase']
    if (failure !== undefined) {
      context.error = failure.error
      error.publish(context)
    }
    asyncStart.publish(context)
    asyncEnd.publish(context)
  }
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
  if (manager === undefined) return snapshot(work)
  return snapshot(() => manager.with(manager.active().setValue(SUPPRESSED, true), work))
}
