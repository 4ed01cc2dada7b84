import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { PoolsmithError } from '../../errors.ts'
import type { EncryptionInfo, KerberosInfo } from '../driver.ts'
import { numericAddress } from '../network/numeric-address.ts'
import type { Endpoint } from '../network/socket.ts'
import { describeTls, peerCertificate, startTls } from '../network/tls.ts'
import { Wire } from '../network/wire.ts'
import { NotPostgres, sslRequest } from './messages.ts'
import { negotiationRefusal } from './negotiation.ts'
import type { TlsSetup } from './tls-settings.ts'

/** An open stream to the server, with its final protection. */
export interface Transport {
  readonly stream: Duplex
  readonly encryption: EncryptionInfo
  /** The server's certificate (DER), to bind a SCRAM login to. */
  readonly serverCertificate?: Buffer
  /** Whether the server asked for a client certificate and was sent one. */
  readonly provedByCertificate?: boolean
  /** Under GSSAPI encryption: the identities that both ends have proved. */
  readonly kerberos?: KerberosInfo
  /** Whether the stream can be read on the way: it is neither encrypted nor a Unix socket. */
  readonly exposed: boolean
}

export interface TlsTarget {
  readonly setup: TlsSetup
  /** The host as the user named it. */
  readonly host: string
  readonly sendServerName: boolean
  readonly direct: boolean
  readonly signal: AbortSignal
}

/** The server declined TLS; the same stream may continue without it. */
export class TlsNotOffered extends Error {
  override readonly name = 'TlsNotOffered'
}

const ALPN = 'postgresql'

export function plainTransport(stream: Duplex, endpoint: Endpoint): Transport {
  return { stream, encryption: { kind: 'none' }, exposed: endpoint.kind === 'tcp' }
}

/**
 * Asks the server for TLS and runs the handshake (PostgreSQL documentation, "SSL Session Encryption"), or starts
 * at once under `sslnegotiation=direct`.
 *
 * @throws TlsNotOffered when the server declines; NegotiationRefusal when it answers with an error; PoolsmithError of
 *   startTls, TLS_STUFFED, TLS_ALPN
 */
export async function tlsTransport(stream: Duplex, target: TlsTarget): Promise<Transport> {
  if (!target.direct) await askForTls(stream, target.signal)
  const { setup, host } = target
  const socket = await startTls(stream, {
    secureContext: setup.secureContext,
    verify: setup.verify,
    host,
    serverName: target.sendServerName && numericAddress(host) === undefined ? host : undefined,
    alpn: ALPN,
    signal: target.signal,
  })
  // Another protocol inside this TLS session means another service (the ALPACA attack). A server that was asked for TLS
  // first may be too old to know the name of the protocol; under sslnegotiation=direct it must know it.
  const agreed = socket.alpnProtocol
  if (agreed !== ALPN && (target.direct || agreed)) {
    socket.destroy()
    throw new PoolsmithError(`The server ${host} did not agree to speak PostgreSQL inside TLS.`, {
      code: 'TLS_ALPN',
      phase: 'tls',
      hint: 'Use PostgreSQL 17 or later for sslnegotiation=direct, and no proxy that terminates TLS.',
      details: { host, agreed: agreed || undefined },
    })
  }
  return describe(socket, setup)
}

async function askForTls(stream: Duplex, signal: AbortSignal): Promise<void> {
  using wire = new Wire(stream, signal)
  wire.write(sslRequest())
  const answer = (await wire.read(1)).toString('latin1')
  if (answer === 'E') throw await negotiationRefusal(wire, 'tls', Buffer.from('E'))
  if (answer !== 'S' && answer !== 'N') throw new NotPostgres(`${JSON.stringify(answer)} instead of S or N`)
  if (wire.waiting > 0) {
    // An SSH server greets with `SSH-2.0-...`, which begins like the answer S.
    const behind = (await wire.read(Math.min(3, wire.waiting))).toString('latin1')
    if (answer + behind === 'SSH-') throw new NotPostgres('the greeting of an SSH server')
    // Bytes that came with the answer were not encrypted, but would be taken for encrypted ones (CVE-2021-23222).
    throw new PoolsmithError('The server sent unencrypted bytes after its answer to the request for TLS.', {
      code: 'TLS_STUFFED',
      phase: 'tls',
      hint: 'A machine between this one and the server may be inserting commands; do not connect from this network.',
    })
  }
  if (answer === 'N') throw new TlsNotOffered('no TLS')
}

function describe(socket: TLSSocket, setup: TlsSetup): Transport {
  const certificate = peerCertificate(socket)
  const { verify, clientCertificate } = setup
  return {
    stream: socket,
    encryption: {
      ...describeTls(socket, verify === 'none' ? undefined : verify),
      ...(clientCertificate === undefined ? {} : { clientCertificate }),
    },
    exposed: false,
    // A client learns the server's signature algorithms only from a request for its certificate (RFC 8446, 4.3.2).
    provedByCertificate: clientCertificate !== undefined && socket.getSharedSigalgs().length > 0,
    ...(certificate === undefined ? {} : { serverCertificate: certificate.raw }),
  }
}
