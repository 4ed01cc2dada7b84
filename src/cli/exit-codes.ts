import { type Phase, PoolsmithError } from '../errors.ts'

/** The exit code for each phase in which a command can fail. A promise to scripts: added to, never renumbered. */
export const PHASE_EXIT_CODES: Readonly<Record<Phase, number>> = {
  config: 3,
  credential: 4,
  dns: 5,
  connect: 6,
  proxy: 7,
  tls: 8,
  gss: 9,
  login: 10,
  pool: 11,
  query: 12,
  write: 13,
}

export const EXIT_CODES = {
  success: 0,
  /** A fault in poolsmith itself, or in a library below it that gives no phase. */
  unexpected: 1,
  usage: 2,
  rotationSoon: 20,
  rotationDue: 21,
  rotationUnknown: 22,
  auditBroken: 25,
  auditTruncated: 26,
  auditUnlinked: 27,
  /** EX_TEMPFAIL of sysexits.h: the same call may succeed later. */
  tryAgain: 75,
  /** By convention 128 + the signal's number. */
  hungUp: 129,
  interrupted: 130,
  terminated: 143,
} as const

/** The meaning of each phase, for the help text. */
export const PHASE_MEANINGS: Readonly<Record<Phase, string>> = {
  config: 'the connection or an option is wrong, or a package is missing',
  credential: 'no credential could be obtained',
  dns: 'the host name was not resolved',
  connect: 'no TCP connection',
  proxy: 'the proxy refused the connection',
  tls: 'no encryption, or a certificate that is not trusted',
  gss: 'Kerberos',
  login: 'the server refused the login',
  pool: 'no connection became free',
  query: 'a statement failed, or there is no such table',
  write: 'the result could not be written',
}

export function exitCodeOf(error: unknown): number {
  return error instanceof PoolsmithError ? PHASE_EXIT_CODES[error.phase] : EXIT_CODES.unexpected
}
