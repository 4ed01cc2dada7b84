import { type ErrorCode, type Phase, PoolsmithError } from '../../errors.ts'
import { tlsError } from '../network/tls.ts'
import { NotSqlServer } from './tedious-connection.ts'

/** What tedious calls its own errors by. */
const SOCKET_ERROR = 'ESOCKET'

/**
 * Dresses what tedious throws while a session is being opened, when the server gave no reason of its own.
 *
 * @param phase where the attempt was
 */
export function openError(error: unknown, host: string, phase: Phase): PoolsmithError {
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof PoolsmithError) return withOurHint(cause)
    if (cause instanceof NotSqlServer) return notSqlServer(host, phase, error)
  }
  if (!(error instanceof Error)) return notSqlServer(host, phase, error)
  const code = codeOf(error)
  const cause = error.cause instanceof Error ? error.cause : error
  if (codeOf(cause) === 'ERR_TLS_CERT_ALTNAME_INVALID') return otherHost(host, cause)
  if (phase === 'tls' && isTlsError(cause)) return withOurHint(tlsError(cause, host))
  if (code === SOCKET_ERROR || isSocketError(cause)) {
    return new PoolsmithError(`${host} closed the connection before the session stood.`, {
      code: 'CONNECTION_CLOSED',
      phase,
      transient: true,
      hint: "See the server's log; with encrypt=strict on one side only, a server closes without a word.",
      details: { host },
      cause: error,
    })
  }
  return notSqlServer(host, phase, error)
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : ''
}

function isTlsError(error: Error): boolean {
  return codeOf(error) !== '' && !isSocketError(error)
}

function isSocketError(error: Error): boolean {
  const code = codeOf(error)
  return (
    code === 'ECONNRESET' ||
    code === 'EPIPE' ||
    code === 'ERR_STREAM_PREMATURE_CLOSE' ||
    error.message === 'unexpected end of message stream'
  )
}

const OTHER_NAME =
  'Connect by a name that the certificate holds, or say in host_name_in_certificate which one is right.'

/** The words of the TLS room name libpq's settings. */
const OUR_HINTS: Readonly<Partial<Record<ErrorCode, string>>> = {
  TLS_UNTRUSTED:
    'Set ca_file to the certificate of the authority that signed it; a server without a certificate of its own ' +
    'signs one itself, which only trust_server_certificate=true takes.',
  TLS_HOSTNAME_MISMATCH: OTHER_NAME,
  TLS_VERSION: 'We speak TLS 1.2 and 1.3 only: update the server, and let its operating system speak TLS 1.2.',
}

function withOurHint(error: PoolsmithError): PoolsmithError {
  const hint = OUR_HINTS[error.code]
  return hint === undefined ? error : withHint(error, hint)
}

/** The same error with other advice. */
export function withHint(error: PoolsmithError, hint: string): PoolsmithError {
  const { code, phase, transient, details, cause } = error
  return new PoolsmithError(error.message, { code, phase, transient, details, cause, hint })
}

function otherHost(host: string, cause: Error): PoolsmithError {
  // The name that was looked for, which may be another one than the host's.
  const name = 'host' in cause && typeof cause.host === 'string' ? cause.host : host
  const names = 'cert' in cause ? (cause.cert as { subjectaltname?: string }).subjectaltname : undefined
  return new PoolsmithError(
    `The server's certificate was not issued for ${name}${names === undefined ? '' : `, but for ${names}`}.`,
    {
      code: 'TLS_HOSTNAME_MISMATCH',
      phase: 'tls',
      hint: OTHER_NAME,
      details: { host, names },
      cause,
    },
  )
}

function notSqlServer(host: string, phase: Phase, cause: unknown): PoolsmithError {
  return new PoolsmithError(`What answers at ${host} is not a SQL Server, or its answers are damaged.`, {
    code: 'NOT_SQL_SERVER',
    phase,
    hint: 'Check host and port (1433 is the default), and what is in between.',
    details: { host },
    cause,
  })
}
