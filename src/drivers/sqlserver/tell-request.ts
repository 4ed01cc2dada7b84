import { beginQuery, traces } from '../../tracing.ts'
import { traceOrigin, type Whereabouts } from '../whereabouts.ts'
import { procedureOf } from './tedious-internals.ts'

/** The parts of a request of tedious that say what it is and how it ends. */
interface ToldRequest {
  readonly sqlTextOrProcedure?: unknown
  readonly parameters?: readonly unknown[]
  callback?: (error: Error | null | undefined, ...rest: unknown[]) => void
}

/** The method of a connection, or what an instrumentation of OpenTelemetry has put in its place. */
interface Method {
  readonly __wrapped?: boolean
}

/** Tells the channel `poolsmith:query` of a request that has a text, unless an instrumentation of tedious sees it. */
export function tellRequest(given: object, execSql: object, where: Whereabouts, payload: object): void {
  if (!traces.query.hasSubscribers || (execSql as Method).__wrapped === true) return
  const request = given as ToldRequest
  const { sqlTextOrProcedure: text, parameters = [], callback } = request
  if (typeof text !== 'string' || typeof callback !== 'function') return
  const procedure = procedureOf(payload)
  const finish = beginQuery({ ...traceOrigin(where), text, hasParameters: parameters.length > 0, procedure })
  request.callback = (error, ...rest) => {
    // A request may be made again.
    request.callback = callback
    finish(error ? { error } : undefined)
    callback.call(request, error, ...rest)
  }
}
