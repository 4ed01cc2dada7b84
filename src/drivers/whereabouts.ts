import { PoolsmithError } from '../errors.ts'
import { printable } from '../printable.ts'

/** The place that sessions are opened to. */
export interface Whereabouts {
  readonly host: string
  /** Undefined for a named instance. */
  readonly port: number | undefined
  /** Undefined where the server chooses it. */
  readonly database: string | undefined
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
