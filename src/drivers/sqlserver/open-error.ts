import { errorCode, isError } from '../../any-error.ts'
import { type ErrorCode, type Phase, PoolsmithError } from '../../errors.ts'
import { StreamClosed } from '../network/wire.ts'
import { stuffed } from './login-errors.ts'
import { NotSqlServer } from './packets.ts'

/** tedious' code for errors of the socket. */
const SOCKET_ERROR = 'ESOCKET'

/**
 * Converts an error of tedious while a session is opened, where the server gave no reason of its own.
 *
 * @param phase where the attempt was
 */
export function openError(error: unknown, host: string, phase: Phase): PoolsmithError {
  for (let cause: unknown = error; isError(cause); cause = cause.cause) {
    if (cause instanceof PoolsmithError) return withOurHint(cause)
    if (cause instanceof NotSqlServer) return notSqlServer(host, phase, error)
    if (isForeignRecord(cause)) return stuffed(host).with({ cause: error })
  }
  if (!isError(error)) return notSqlServer(host, phase, error)
  const cause = isError(error.cause) ? error.cause : error
  const isClosed = errorCode(error) === SOCKET_ERROR || cause instanceof StreamClosed || isSocketError(cause)
  return isClosed ? closed(host, phase, error) : notSqlServer(host, phase, error)
}

function closed(host: string, phase: Phase, cause: unknown): PoolsmithError {
  return new PoolsmithError(`${host} closed the connection before the session stood.`, {
    code: 'CONNECTION_CLOSED',
    phase,
    transient: true,
    hint: "See the server's log; with encrypt=strict on one side only, a server closes without a word.",
    details: { host },
    cause,
  })
}

/**
 * Whether bytes arrived behind the handshake that are no TLS record. Errors of the handshake itself are PoolsmithErrors
 * already, and an alert is sent by the server.
 */
function isForeignRecord(error: Error): boolean {
  const code = errorCode(error) ?? ''
  return code.startsWith('ERR_SSL_') && !code.includes('ALERT')
}

function isSocketError(error: Error): boolean {
  const code = errorCode(error)
  return (
    code === 'ECONNRESET' ||
    code === 'EPIPE' ||
    code === 'ERR_STREAM_PREMATURE_CLOSE' ||
    error.message === 'unexpected end of message stream'
  )
}

const OTHER_NAME =
  'Connect by a name that the certificate holds, or say in host_name_in_certificate which one is right.'

/** The hints of network/tls.ts name libpq's options. */
const OUR_HINTS: Readonly<Partial<Record<ErrorCode, string>>> = {
  TLS_UNTRUSTED:
    'Set ca_file to the certificate of the authority that signed it. For a certificate that the server signed itself, set ' +
    'server_certificate to a copy of it; trust_server_certificate=true accepts any, also that of an attacker.',
  TLS_HOSTNAME_MISMATCH: OTHER_NAME,
  TLS_VERSION: 'We speak TLS 1.2 and 1.3 only: update the server, and let its operating system speak TLS 1.2.',
}

function withOurHint(error: PoolsmithError): PoolsmithError {
  const hint = OUR_HINTS[error.code]
  return hint === undefined ? error : error.with({ hint })
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
