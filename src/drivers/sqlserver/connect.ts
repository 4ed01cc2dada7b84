import type { Socket } from 'node:net'
import type { Phase } from '../../errors.ts'
import type { ProxyInfo } from '../driver.ts'
import { authority } from '../network/proxy/address.ts'
import type { ProxyRouter } from '../network/proxy/tunnel.ts'
import { connectSocket, type Endpoint, type Lookup, resolveHost, showEndpoint } from '../network/socket.ts'

/** The probes of TCP that notice a peer that is gone while the session is idle. */
const KEEP_ALIVE_IDLE_MILLIS = 30_000

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
