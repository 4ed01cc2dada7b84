import { ConfigError, PoolsmithError } from '../errors.ts'
import type { DatabaseSystem } from '../events.ts'
import type { PlaceName } from '../hosts/place.ts'
import { printable } from '../printable.ts'
import type { TraceContext } from '../tracing.ts'

/** The place that sessions are opened to, and the pool that opens them. It goes into the details of errors. */
export interface Whereabouts {
  /** `pool_name`; see {@link placeName} for its default. Absent for a driver that is used without a pool. */
  readonly poolName?: string | undefined
  readonly system?: DatabaseSystem | undefined
  readonly host: string
  /** Undefined for a named instance. */
  readonly port: number | undefined
  /** Undefined where the server chooses it. */
  readonly database: string | undefined
}

/** The whereabouts of one session, of a record that may lead to several servers. */
export function atPlace(where: Whereabouts, place: PlaceName | undefined): Whereabouts {
  return place === undefined ? where : { ...where, host: place.host, port: place.port }
}

/** The place as the traces tell it. */
export function traceOrigin(where: Whereabouts | undefined): TraceContext {
  const { poolName = 'pool', system, host, port, database } = where ?? {}
  return { poolName, system, host, port, database }
}

/** `db.example.com:5432/app`: the name of a pool that is given none. */
export function placeName({ host, port, database }: Pick<Whereabouts, 'host' | 'port' | 'database'>): string {
  const place = port === undefined ? host : `${host}:${port}`
  return database === undefined ? place : `${place}/${database}`
}

/** `db.example.com:5432 (database app)` */
export function showWhereabouts({ host, port, database }: Whereabouts): string {
  const place = port === undefined ? host : `${host}:${port}`
  return database === undefined ? place : `${place} (database ${printable(database)})`
}

/** The error of an opening, with the place in its message as psql has it, and in its details. */
export function openingError(error: unknown, where: Whereabouts | undefined): unknown {
  if (where === undefined || !(error instanceof PoolsmithError)) return error
  // These are about the connection record and the issuer of the credential.
  if (error.phase === 'config' || error.phase === 'credential') return error
  return error.with({
    message: `The connection to ${showWhereabouts(where)} failed: ${error.message}`,
    details: { ...where, ...error.details },
  })
}

/**
 * The same error with the place in its details, where it has none yet: an issuer of credentials does not know what they
 * are for.
 */
export function placed(error: PoolsmithError, where: Whereabouts | undefined): PoolsmithError {
  if (where === undefined || error.details.poolName !== undefined || error instanceof ConfigError) return error
  return Object.assign(error.with({ details: { ...where, ...error.details } }), { stack: error.stack })
}
