import type { Socket } from 'node:net'
import { isIP } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { type Phase, PoolsmithError } from '../../errors.ts'
import type { ProxyInfo } from '../driver.ts'
import { authority } from '../network/proxy/address.ts'
import type { ProxyRouter } from '../network/proxy/tunnel.ts'
import { connectSocket, type Endpoint, type Lookup, resolveHost, showEndpoint } from '../network/socket.ts'
import { startTls } from '../network/tls.ts'
import { withHint } from './open-error.ts'
import { assertOnly, type TlsSetup } from './tls-settings.ts'

/** The probes of TCP that notice a peer that is gone while the session is idle. */
const KEEP_ALIVE_IDLE_MILLIS = 30_000
const ALPN = 'tds/8.0'
const NEEDS_2022 = 'encrypt=strict needs SQL Server 2022 or later, or Azure SQL; use encrypt=true for an older server.'

export interface Reach {
  readonly lookup: Lookup
  readonly multiSubnetFailover: boolean
  /** What goes through a proxy: also where a server sends us on to. */
  readonly route: ProxyRouter | undefined
  readonly signal: AbortSignal
  readonly enter: (phase: Phase) => void
}

export interface Reached {
  readonly socket: Socket
  /** `127.0.0.1:1433` */
  readonly peer: string
  /** The proxy in between, and how it let us through. */
  readonly proxy?: ProxyInfo
}

/**
 * Opens a TCP connection to a host: through a proxy where the route says so, else to its addresses one after the other, or to all at once and the first wins.
 *
 * @throws PoolsmithError of resolveHost and connectSocket, or with the phase `proxy`; the signal's reason
 */
export async function reach(host: string, port: number, how: Reach): Promise<Reached> {
  const tunnel = how.route?.(host, port)
  if (tunnel !== undefined) {
    how.enter('proxy')
    const { stream, info } = await tunnel.open({ signal: how.signal, keepAliveIdleMillis: KEEP_ALIVE_IDLE_MILLIS })
    return { socket: stream, peer: authority(host, port), proxy: info }
  }
  how.enter('dns')
  const addresses = await resolveHost(host, how.lookup, how.signal)
  how.enter('connect')
  const endpoints = addresses.map((address): Endpoint => ({ kind: 'tcp', address, port }))
  return how.multiSubnetFailover ? first(endpoints, how.signal) : inTurn(endpoints, how.signal)
}

async function inTurn(endpoints: readonly Endpoint[], signal: AbortSignal): Promise<Reached> {
  let last: unknown
  for (const endpoint of endpoints) {
    try {
      return await open(endpoint, signal)
    } catch (error) {
      if (signal.aborted) throw error
      last = error
    }
  }
  throw last
}

async function first(endpoints: readonly Endpoint[], signal: AbortSignal): Promise<Reached> {
  const enough = new AbortController()
  const either = AbortSignal.any([signal, enough.signal])
  const attempts = endpoints.map((endpoint) => open(endpoint, either))
  try {
    const winner = await Promise.any(attempts)
    for (const attempt of attempts) {
      attempt.then(
        (other) => other.socket !== winner.socket && other.socket.destroy(),
        // It was called off, or failed before the winner was there.
        () => undefined,
      )
    }
    return winner
  } catch (error) {
    signal.throwIfAborted()
    throw error instanceof AggregateError ? error.errors[0] : error
  } finally {
    enough.abort()
  }
}

async function open(endpoint: Endpoint, signal: AbortSignal): Promise<Reached> {
  const socket = await connectSocket(endpoint, { signal, keepAliveIdleMillis: KEEP_ALIVE_IDLE_MILLIS })
  return { socket, peer: showEndpoint(endpoint) }
}

/**
 * TLS before anything else (TDS 8.0): always verified.
 *
 * @param server asked for by name indication
 * @param name what the certificate must hold
 * @throws PoolsmithError of startTls; TLS_CERTIFICATE_OTHER, TLS_ALPN
 */
export async function strictTls(
  socket: Socket,
  server: string,
  name: string,
  setup: TlsSetup,
  signal: AbortSignal,
): Promise<TLSSocket> {
  const tls = await startTls(socket, {
    secureContext: setup.secureContext,
    verify: setup.only === undefined ? 'hostname' : 'none',
    host: name,
    serverName: isIP(server) === 0 ? server : undefined,
    alpn: ALPN,
    signal,
  }).catch((error: unknown) => {
    // An older server takes the first bytes of TLS for damaged ones and hangs up.
    throw error instanceof PoolsmithError && error.code === 'TLS_HANDSHAKE_FAILED' ? withHint(error, NEEDS_2022) : error
  })
  if (setup.only !== undefined) assertOnly(tls, setup.only, name)
  if (tls.alpnProtocol === ALPN) return tls
  tls.destroy()
  throw new PoolsmithError(`What answers at ${name} speaks TLS, but not TDS 8.0 inside it.`, {
    code: 'TLS_ALPN',
    phase: 'tls',
    hint: NEEDS_2022,
  })
}
