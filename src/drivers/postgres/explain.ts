import { errorCode, isError } from '../../any-error.ts'
import type { Credential } from '../../credentials/credential.ts'
import { type Phase, PoolsmithError } from '../../errors.ts'
import { kerberosError } from '../../kerberos/errors.ts'
import { printable } from '../../printable.ts'
import { type Endpoint, showEndpoint } from '../network/socket.ts'
import { tlsError } from '../network/tls.ts'
import { StreamClosed } from '../network/wire.ts'
import { GssNotOffered, GssSetupFailed } from './gss-transport.ts'
import { NotPostgres } from './messages.ts'
import { NegotiationRefusal } from './negotiation.ts'
import type { SslMode } from './options.ts'
import { refusalError, ServerRefusal } from './server-error.ts'
import { TlsNotOffered } from './transport.ts'

/** The maximum length of what is shown of a malformed answer. */
const WORDS = 200

export interface Where {
  readonly host: string
  readonly endpoint: Endpoint
  readonly sslMode: SslMode
  readonly phase: Phase
  readonly credential: Credential
}

/** The PoolsmithError that tells why an attempt failed. */
export function explain(cause: unknown, where: Where): unknown {
  const { host, sslMode, endpoint, phase } = where
  const peer = showEndpoint(endpoint)
  if (cause instanceof ServerRefusal) return refusalError(cause, where.credential)
  if (cause instanceof NegotiationRefusal) return negotiationError(cause, peer)
  if (cause instanceof TlsNotOffered) {
    return new PoolsmithError(`The server ${peer} does not offer TLS.`, {
      code: 'TLS_NOT_OFFERED',
      phase: 'tls',
      hint: `Set ssl=on on the server; sslmode=${sslMode} or this auth_method needs TLS.`,
    })
  }
  if (cause instanceof GssSetupFailed) return explain(cause.cause, where)
  if (cause instanceof GssNotOffered) {
    return kerberosError('GSS_NOT_OFFERED', {}, { phase: 'gss', cause, more: `It answers at ${peer}.` })
  }
  if (cause instanceof NotPostgres) {
    return new PoolsmithError(
      `The peer at ${peer} is not a PostgreSQL server, or its answer is damaged: ${printable(cause.message, WORDS)}.`,
      {
        code: 'NOT_POSTGRES',
        phase,
        hint: 'Check host and port; a web server, a proxy or another database may be listening there.',
        cause,
      },
    )
  }
  if (cause instanceof StreamClosed) {
    const broken = cause.cause
    // An encrypted stream that was damaged carries the reason.
    if (broken instanceof PoolsmithError) return broken
    // Under TLS 1.3 the server checks the client certificate after the handshake.
    if (isError(broken) && errorCode(broken)?.startsWith('ERR_SSL_') === true) return tlsError(broken, host)
    return new PoolsmithError(`The server ${peer} closed the connection in the phase ${phase}.`, {
      code: 'CONNECTION_CLOSED',
      phase,
      transient: true,
      hint: "See the server's log. A full or restarting server, or a proxy without a backend, closes connections like this.",
      cause,
    })
  }
  return cause
}

/** In psql's words. The text of the server's error is left out, since nothing proves its origin. */
function negotiationError({ asked, unknownRequest }: NegotiationRefusal, peer: string): PoolsmithError {
  if (unknownRequest && asked === 'gss') {
    const more = `It does not know the request, as PostgreSQL before version 12; it answers at ${peer}.`
    return kerberosError('GSS_NOT_OFFERED', {}, { phase: 'gss', more })
  }
  if (unknownRequest) {
    return new PoolsmithError(`The server ${peer} does not know TLS: it refuses the request for it.`, {
      code: 'TLS_NOT_OFFERED',
      phase: 'tls',
      hint: 'Use another server or pooler, or sslmode=disable where the network is trusted.',
    })
  }
  const what = asked === 'tls' ? 'TLS' : 'GSSAPI encryption'
  return new PoolsmithError(`The server ${peer} sent an error in the middle of the negotiation of ${what}.`, {
    code: 'NEGOTIATION_FAILED',
    phase: asked,
    transient: true,
    hint:
      "See the server's log: often it could not start a process for the connection. The text of the error is in the " +
      'event debug:refusal only, since nothing proves that the server sent it.',
  })
}
