/** Errors of a server, a driver or a socket, as poolsmith's errors: the same form for every database. */

import { isError } from '../../any-error.ts'
import { type ErrorCode, PoolsmithError } from '../../errors.ts'
import { printable } from '../../printable.ts'

/** The meaning of an error for a reader of tables. */
export interface Meaning {
  readonly code: ErrorCode
  readonly hint: string
  readonly transient?: boolean
  /** The server's own codes. */
  readonly details?: Readonly<Record<string, unknown>>
}

/**
 * @param error a PoolsmithError stays as it is
 * @param shown the table or query
 * @param meaningOf of the database's own errors
 * @throws what is not an Error
 */
export function failureOf(
  error: unknown,
  shown: string,
  signal: AbortSignal | undefined,
  meaningOf: (error: Error) => Meaning,
): PoolsmithError {
  if (signal?.aborted) {
    return new PoolsmithError(`Reading ${shown} was aborted.`, {
      code: 'ABORTED',
      phase: 'query',
      cause: signal.reason,
    })
  }
  if (error instanceof PoolsmithError) return error
  if (!isError(error)) throw error
  const { details, ...meaning } = isDecoding(error) ? UNREADABLE : meaningOf(error)
  return new PoolsmithError(`Reading ${shown} failed: ${printable(error.message)}`, {
    ...meaning,
    phase: 'query',
    details: { table: shown, ...details },
    cause: error,
  })
}

/** Errors of JavaScript itself: the bytes of the answer are not in the form that the reader expects. */
function isDecoding(error: Error): boolean {
  return ['RangeError', 'SyntaxError', 'TypeError'].includes(error.name)
}

const UNREADABLE: Meaning = {
  code: 'EXTRACT_PROTOCOL',
  hint: 'Report this with the server version and the cause.',
}

/** @throws PoolsmithError EXTRACT_PROTOCOL when another number of rows arrived than the server says it sent */
export function checkRowCount(arrived: number, sent: number | undefined): void {
  if (sent === undefined || arrived === sent) return
  throw new PoolsmithError(`The server says that it sent ${sent} rows, but ${arrived} arrived.`, {
    code: 'EXTRACT_PROTOCOL',
    phase: 'query',
    hint: 'Report this with the server version.',
  })
}
