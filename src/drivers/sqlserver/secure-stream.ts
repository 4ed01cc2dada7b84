/** Makes an open socket ready for the login: PRELOGIN, and TLS as the options and the server require. */

import { isIP, type Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { type Phase, PoolsmithError } from '../../errors.ts'
import { startTls, type TlsRequest } from '../network/tls.ts'
import { Wire } from '../network/wire.ts'
import { notOffered, passwordExposed } from './login-errors.ts'
import { PACKET, packetsOf, readMessage } from './packets.ts'
import { type Encryption, type PreloginAnswer, preloginRequest, readPreloginAnswer } from './prelogin.ts'
import { withoutFinalDot } from './routing.ts'
import { type PacketTls, tlsInPackets } from './tls-in-packets.ts'
import { assertOnly, type TlsSetup } from './tls-settings.ts'

const ALPN = 'tds/8.0'
const NEEDS_2022 = 'encrypt=strict needs SQL Server 2022 or later, or Azure SQL; use encrypt=true for an older server.'
/** In bytes: an answer to PRELOGIN has about fifty. */
const LARGEST_PRELOGIN = 1 << 16
/** The most that TLS puts into one record. */
const LARGEST_FRAGMENT = 16_384

export interface SecureStream {
  /** The stream of the session, from the login on. */
  readonly stream: Socket
  /** Absent where the session is not encrypted. */
  readonly tls?: TLSSocket
  /** Covers the login's first message, where it alone is encrypted. */
  readonly loginTls?: PacketTls
  /** The login must repeat that the server requires a token (fFedAuthEcho, MS-TDS 2.2.6.4). */
  readonly fedAuthRequired: boolean
}

export interface SecurityRequest {
  readonly encrypt: 'true' | 'false' | 'strict'
  /** The server as it was named, by us or by the one that sent us on. */
  readonly server: string
  /** The name that its certificate must hold. */
  readonly certificateName: string
  readonly setup: TlsSetup
  /** Whether the certificate is verified: never, where TLS covers the whole session, or always. */
  readonly verify: 'never' | 'session' | 'always'
  /** The kind of secret in the login that must not be sent in plain. */
  readonly secret: 'password' | 'token' | undefined
  readonly packetSize: number
  readonly signal: AbortSignal
  readonly enter: (phase: Phase) => void
}

/**
 * Exchanges PRELOGIN with the server and starts TLS. The socket is closed when it fails.
 *
 * @throws PoolsmithError TLS_NOT_OFFERED, CLEARTEXT_REFUSED, TLS_STUFFED, TLS_ALPN, TLS_CERTIFICATE_OTHER and those of
 *   startTls; NotSqlServer; StreamClosed; the signal's reason
 */
export async function secureStream(socket: Socket, request: SecurityRequest): Promise<SecureStream> {
  try {
    return await secured(socket, request)
  } catch (error) {
    socket.destroy()
    throw error
  }
}

async function secured(socket: Socket, request: SecurityRequest): Promise<SecureStream> {
  const { encrypt, secret, verify, enter } = request
  if (encrypt === 'strict') {
    enter('tls')
    const tls = await strictTls(socket, request)
    enter('login')
    const { fedAuthRequired } = await prelogin(tls, 'not-supported', request)
    return { stream: tls, tls, fedAuthRequired }
  }
  enter(encrypt === 'true' ? 'tls' : 'login')
  const answer = await prelogin(socket, encrypt === 'true' ? 'on' : 'off', request)
  const { fedAuthRequired } = answer
  const wholeSession = answer.encryption === 'on' || answer.encryption === 'required'
  if (wholeSession || (encrypt === 'false' && answer.encryption === 'off')) {
    enter('tls')
    const packetTls = await tlsInPackets(socket, {
      ...tlsRequest(request, wholeSession ? verify !== 'never' : verify === 'always'),
      direction: wholeSession ? 'both' : 'write',
    })
    const tls = packetTls.stream
    checked(tls, request)
    return wholeSession
      ? { stream: tls, tls, fedAuthRequired }
      : { stream: socket, loginTls: packetTls, fedAuthRequired }
  }
  if (encrypt === 'false' && secret !== undefined) throw passwordExposed()
  if (encrypt === 'true' || verify === 'always') throw notOffered(encrypt)
  return { stream: socket, fedAuthRequired }
}

async function prelogin(stream: Socket, encryption: Encryption, request: SecurityRequest): Promise<PreloginAnswer> {
  using wire = new Wire(stream, request.signal)
  wire.write(packetsOf(PACKET.prelogin, preloginRequest({ encryption, federated: request.secret === 'token' })))
  return readPreloginAnswer(await readMessage(wire, PACKET.answer, LARGEST_PRELOGIN))
}

function tlsRequest(request: SecurityRequest, isVerified: boolean): TlsRequest {
  const { setup, server, certificateName, signal } = request
  return {
    secureContext: setup.secureContext(),
    // The one certificate that was named is compared by itself; see checked().
    verify: isVerified && setup.only === undefined ? 'hostname' : 'none',
    host: certificateName,
    // The name of the server, whatever its certificate holds: a wildcard is not a name to ask for.
    serverName: isIP(server) === 0 ? withoutFinalDot(server) : undefined,
    signal,
  }
}

/** TLS before anything else (TDS 8.0): always verified. */
async function strictTls(socket: Socket, request: SecurityRequest): Promise<TLSSocket> {
  const tls = await startTls(socket, { ...tlsRequest(request, true), alpn: ALPN }).catch((error: unknown) => {
    // An older server takes the first bytes of TLS for damaged ones and hangs up.
    const isOld = error instanceof PoolsmithError && error.code === 'TLS_HANDSHAKE_FAILED'
    throw isOld ? error.with({ hint: NEEDS_2022 }) : error
  })
  checked(tls, request)
  if (tls.alpnProtocol === ALPN) return tls
  tls.destroy()
  throw new PoolsmithError(`What answers at ${request.server} speaks TLS, but not TDS 8.0 inside it.`, {
    code: 'TLS_ALPN',
    phase: 'tls',
    hint: NEEDS_2022,
  })
}

/** After the handshake: the certificate is the one that was named, and a packet fits into a record. */
function checked(tls: TLSSocket, { setup, certificateName, packetSize }: SecurityRequest): void {
  if (setup.only !== undefined) assertOnly(tls, setup.only, certificateName)
  // Azure SQL hangs up over a login whose packets share a record (tedious' issue 1182).
  tls.setMaxSendFragment(Math.min(packetSize, LARGEST_FRAGMENT))
}
