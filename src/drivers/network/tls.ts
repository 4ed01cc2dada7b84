import { X509Certificate } from 'node:crypto'
import type { Duplex } from 'node:stream'
import { connect, type SecureContext, type TLSSocket } from 'node:tls'
import { onAbort } from '../../abort.ts'
import { errorCode } from '../../any-error.ts'
import { subjectOf } from '../../credentials/certificate-files.ts'
import { PoolsmithError } from '../../errors.ts'
import { printable } from '../../printable.ts'
import type { EncryptionInfo } from '../driver.ts'
import { certificateMatchesHost } from './host-name.ts'

export interface TlsRequest {
  readonly secureContext: SecureContext
  /** `none`: encrypted but not verified. `chain`: signed by a trusted authority. `hostname`: and issued for `host`. */
  readonly verify: 'none' | 'chain' | 'hostname'
  /** The host as the user named it. */
  readonly host: string
  /** Sent as server name indication; absent for an IP address (RFC 6066). */
  readonly serverName?: string | undefined
  /** Offered to the server (RFC 7301). Default: nothing. */
  readonly alpn?: string
  readonly signal: AbortSignal
}

/**
 * Runs the TLS handshake over an open stream and checks the server's certificate.
 * The stream is closed when it fails.
 *
 * @throws PoolsmithError TLS_UNTRUSTED, TLS_CERTIFICATE_UNSUITABLE, TLS_CERTIFICATE_EXPIRED, TLS_CERTIFICATE_NOT_YET_VALID, TLS_CERTIFICATE_REVOKED,
 *   TLS_HOSTNAME_MISMATCH, TLS_CLIENT_CERTIFICATE_REFUSED, TLS_VERSION, TLS_HANDSHAKE_FAILED; the signal's reason
 */
export async function startTls(stream: Duplex, request: TlsRequest): Promise<TLSSocket> {
  const { signal, host } = request
  signal.throwIfAborted()
  const socket = connect({
    socket: stream,
    secureContext: request.secureContext,
    rejectUnauthorized: request.verify !== 'none',
    // The name is checked below by libpq's rules, which are not Node's.
    checkServerIdentity: () => undefined,
    ALPNProtocols: request.alpn === undefined ? undefined : [request.alpn],
    ...(request.serverName === undefined ? {} : { servername: request.serverName }),
  })
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const onClose = (): void => reject(handshakeClosed(host))
  const onError = (cause: Error): void => reject(tlsError(cause, host))
  // The one that stays is added first, as on every socket of ours: see connectSocket.
  socket.on('error', endBy).on('error', onError)
  socket.once('secureConnect', resolve)
  socket.once('close', onClose)
  using _ = onAbort(signal, () => reject(signal.reason))
  try {
    await promise
    if (request.verify === 'hostname') assertHost(peerCertificate(socket), host)
    return socket
  } catch (error) {
    socket.destroy()
    stream.destroy()
    throw error
  } finally {
    socket.off('secureConnect', resolve).off('close', onClose).off('error', onError)
  }
}

/** Node only announces an alert that comes after the handshake; a socket that is destroyed by it keeps the reason. */
function endBy(this: TLSSocket, cause: Error): void {
  this.destroy(cause)
}

/**
 * The server's own certificate. Node's `getPeerX509Certificate` takes it out of the chain when a client calls it, so
 * that a second call gives its issuer's or nothing (seen in Node 24.21); the older call can be repeated.
 */
export function peerCertificate(socket: TLSSocket): X509Certificate | undefined {
  // An empty object when there is none, whatever the types say.
  const raw: Buffer | undefined = socket.getPeerCertificate().raw
  return raw === undefined ? undefined : new X509Certificate(raw)
}

/** The facts about the encryption of a session and about the server's certificate. */
export function describeTls(socket: TLSSocket, verified: EncryptionInfo['verified']): EncryptionInfo {
  const certificate = peerCertificate(socket)
  const { name, standardName = name } = socket.getCipher()
  return {
    kind: 'tls',
    protocol: socket.getProtocol() ?? 'unknown',
    cipher: standardName,
    ...(verified === undefined ? {} : { verified }),
    ...(certificate === undefined
      ? {}
      : {
          serverCertificate: {
            subject: subjectOf(certificate),
            issuer: certificate.issuer.split('\n').join(', '),
            expiresAt: certificate.validToDate.getTime(),
          },
        }),
  }
}

function assertHost(certificate: X509Certificate | undefined, host: string): void {
  if (certificate !== undefined && certificateMatchesHost(certificate, host)) return
  const names = certificate?.subjectAltName ?? certificate?.subject.split('\n').join(', ') ?? 'no name'
  throw new PoolsmithError(`The server's certificate was not issued for ${host}, but for ${names}.`, {
    code: 'TLS_HOSTNAME_MISMATCH',
    phase: 'tls',
    hint: 'Connect by a name that the certificate holds, or have the server given one for this name.',
    details: { host, names },
  })
}

function handshakeClosed(host: string): PoolsmithError {
  return new PoolsmithError(`The server ${host} closed the connection during the TLS handshake.`, {
    code: 'TLS_HANDSHAKE_FAILED',
    phase: 'tls',
    transient: true,
    hint: "The server's log says why; a proxy or firewall that does not let TLS through does this as well.",
    details: { host },
  })
}

const UNTRUSTED = new Set([
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'CERT_SIGNATURE_FAILURE',
  'CERT_UNTRUSTED',
  'CERT_REJECTED',
])

/** Faults of a certificate that is signed by a trusted authority. Node has no name for many of them, only a text. */
const UNSUITABLE = new Set([
  'INVALID_CA',
  'INVALID_PURPOSE',
  'PATH_LENGTH_EXCEEDED',
  'CERT_CHAIN_TOO_LONG',
  'UNSPECIFIED',
])

/**
 * Turns an error of Node's TLS into one of ours. An alert about our own certificate may come long after the
 * handshake, since under TLS 1.3 the server judges it last (RFC 8446, 4.4.2).
 */
export function tlsError(cause: Error, host: string): PoolsmithError {
  const code = errorCode(cause) ?? ''
  const reason = code === '' || code === 'UNSPECIFIED' ? printable(cause.message, 200) : code
  const base = { phase: 'tls', details: { host, reason }, cause } as const
  if (UNTRUSTED.has(code)) {
    return new PoolsmithError(`The certificate of ${host} is not signed by an authority that we trust (${code}).`, {
      ...base,
      code: 'TLS_UNTRUSTED',
      hint: 'Set sslrootcert to the certificate of the authority that signed it (or to `system` for a public one).',
    })
  }
  if (UNSUITABLE.has(code)) {
    const why = printable(cause.message, 200)
    return new PoolsmithError(`The certificate of ${host}, or one that it rests on, is not suitable: ${why}.`, {
      ...base,
      code: 'TLS_CERTIFICATE_UNSUITABLE',
      hint:
        code === 'INVALID_PURPOSE'
          ? 'Have the server given a certificate for servers (extended key usage serverAuth); this one is for another use.'
          : 'Have the authority issue a certificate without this fault; `openssl verify -purpose sslserver` shows it too.',
    })
  }
  if (code === 'CERT_HAS_EXPIRED') {
    return new PoolsmithError(`The certificate of ${host}, or one that it rests on, has expired.`, {
      ...base,
      code: 'TLS_CERTIFICATE_EXPIRED',
      hint: 'Have the server given a new certificate; check the clock of this machine.',
    })
  }
  if (code === 'CERT_NOT_YET_VALID') {
    return new PoolsmithError(`The certificate of ${host} is not valid yet.`, {
      ...base,
      code: 'TLS_CERTIFICATE_NOT_YET_VALID',
      hint: 'Check the clock of this machine.',
    })
  }
  if (code === 'CERT_REVOKED') {
    return new PoolsmithError(`The certificate of ${host} has been revoked.`, {
      ...base,
      code: 'TLS_CERTIFICATE_REVOKED',
      hint: 'Do not trust this server until its administrator has given it a new certificate.',
    })
  }
  if (code.startsWith('CRL_') || code.startsWith('UNABLE_TO_GET_CRL') || code === 'UNABLE_TO_DECRYPT_CRL_SIGNATURE') {
    return new PoolsmithError(`The revocation list does not serve to check the certificate of ${host} (${code}).`, {
      ...base,
      code: 'CRL_UNUSABLE',
      hint: 'sslcrl must hold a current list of every authority in the chain.',
    })
  }
  const alert =
    /ALERT_(CERTIFICATE_REQUIRED|BAD_CERTIFICATE|UNKNOWN_CA|CERTIFICATE_\w+|UNSUPPORTED_CERTIFICATE|ACCESS_DENIED|DECRYPT_ERROR)/
  const refused = alert.exec(code)
  if (refused !== null) {
    const why = (refused[1] ?? '').toLowerCase().replaceAll('_', ' ')
    return new PoolsmithError(`The server ${host} did not accept our client certificate (${why}).`, {
      ...base,
      code: 'TLS_CLIENT_CERTIFICATE_REFUSED',
      hint: 'Check sslcert and sslkey: the certificate must be signed by an authority in the ssl_ca_file of the server.',
    })
  }
  if (/UNSUPPORTED_PROTOCOL|PROTOCOL_VERSION|NO_PROTOCOLS_AVAILABLE/.test(code)) {
    return new PoolsmithError(`We and the server ${host} have no version of TLS in common.`, {
      ...base,
      code: 'TLS_VERSION',
      hint: 'Compare ssl_min_protocol_version and ssl_max_protocol_version here and on the server.',
    })
  }
  const closed = code === 'ECONNRESET' || code === 'EPIPE'
  return closed
    ? handshakeClosed(host)
    : new PoolsmithError(`The TLS handshake with ${host} failed (${code || cause.message}).`, {
        ...base,
        code: 'TLS_HANDSHAKE_FAILED',
        hint: "The server's log says more.",
      })
}
