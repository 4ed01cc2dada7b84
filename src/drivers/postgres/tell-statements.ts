import type pg from 'pg'
import { beginQuery, traces } from '../../tracing.ts'
import { POSTGRES_BINDINGS, tooManyBindings } from '../binding-limit.ts'
import { traceOrigin, type Whereabouts } from '../whereabouts.ts'
import { refuse } from './client-statements.ts'

type Query = ((this: pg.Client, ...given: unknown[]) => unknown) & {
  /** Set on a function that an instrumentation of OpenTelemetry has put in the place of pg's. */
  readonly __wrapped?: boolean
}
interface Bound {
  readonly values?: unknown
}

type Callback = (error: Error | null | undefined, result?: unknown) => void

/**
 * Tells the channel `poolsmith:query` of the statements of a client, but for cursors and streams, and refuses one with more
 * bindings than the protocol counts.
 *
 * @param lost the error of a statement on a session that has ended
 */
export function tellStatements(client: pg.Client, where: Whereabouts, lost: () => Error | undefined): void {
  const telling: Query = (...given) => {
    const loss = lost()
    if (loss !== undefined) return refuse(client, given, loss)
    const refusal = tooManyBindings(bindingsOf(given), POSTGRES_BINDINGS)
    if (refusal !== undefined) return refuse(client, given, refusal)
    const query = Object.getPrototypeOf(client).query as Query
    if (!traces.query.hasSubscribers || query.__wrapped === true) return query.apply(client, given)
    return tell(client, query, given, where)
  }
  client.query = telling as typeof client.query
}

/** On the hot path. */
function bindingsOf([first, second]: readonly unknown[]): number {
  if (Array.isArray(second)) return second.length
  const { values, cursor } = (first ?? {}) as Bound & { readonly cursor?: Bound }
  // A `pg-query-stream` has them in its cursor.
  const bound = values ?? cursor?.values
  return Array.isArray(bound) ? bound.length : 0
}

function tell(client: pg.Client, query: Query, given: unknown[], where: Whereabouts): unknown {
  const [first, second] = given
  const { text, values, submit, callback } = (typeof first === 'string' ? { text: first } : (first ?? {})) as {
    readonly text?: unknown
    readonly values?: unknown
    readonly submit?: unknown
    readonly callback?: unknown
  }
  // A cursor or a stream ends when its reader likes.
  if (typeof text !== 'string' || submit !== undefined || callback !== undefined) return query.apply(client, given)
  const bound = Array.isArray(second) ? second : values
  const finish = beginQuery({ ...traceOrigin(where), text, hasParameters: Array.isArray(bound) && bound.length > 0 })
  const place = given.findIndex((one) => typeof one === 'function')
  if (place >= 0) {
    const answer = given[place] as Callback
    const told: Callback = (error, result) => {
      finish(error ? { error } : undefined)
      answer(error, result)
    }
    return query.apply(client, given.with(place, told))
  }
  const result = query.apply(client, given) as Promise<unknown>
  result.then(
    () => finish(),
    (error: unknown) => finish({ error }),
  )
  return result
}
