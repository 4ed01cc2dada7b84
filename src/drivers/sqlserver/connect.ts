import type { Socket } from 'node:net'
import type { Phase } from '../../errors.ts'
import type { ProxyInfo } from '../driver.ts'
import { Dialer } from '../network/dialer.ts'
import type { ProxyRouter } from '../network/proxy/tunnel.ts'
import type { Reachability } from '../network/reachability.ts'
import { addressOf, type Lookup, resolveHost, showEndpoint } from '../network/socket.ts'

/** The probes of TCP that notice a peer that is gone while the session is idle. */
const KEEP_ALIVE_IDLE_MILLIS = 30_000

export interface Reach {
  readonly lookup: Lookup
  readonly reachability: Reachability
  readonly multiSubnetFailover: boolean
  /** The way through a proxy, also for a server that the login is routed to. */
  readonly route: ProxyRouter | undefined
  readonly signal: AbortSignal
  /** When the signal will end the opening, on the clock of performance.now(). */
  readonly deadline: number | undefined
  readonly enter: (phase: Phase) => void
}

export interface Reached {
  readonly socket: Socket
  /** `127.0.0.1:1433` */
  readonly peer: string
  /** `127.0.0.1`, or the name that a proxy resolves. */
  readonly address: string
  /** The proxy in between, and how it let us through. */
  readonly proxy?: ProxyInfo | undefined
}

/**
 * Finds the addresses of a host: one place to go through where the route says that a proxy leads there.
 *
 * @throws PoolsmithError of resolveHost; the signal's reason
 */
export async function dialerFor(host: string, port: number, how: Reach): Promise<Dialer> {
  const { reachability, deadline } = how
  const tunnel = how.route?.(host, port)
  if (tunnel !== undefined) return new Dialer([{ kind: 'tcp', address: host, port }], reachability, { tunnel })
  how.enter('dns')
  const addresses = await resolveHost(host, how.lookup, how.signal)
  const endpoints = addresses.map((address) => ({ kind: 'tcp', address, port }) as const)
  return new Dialer(endpoints, reachability, { deadline, atOnce: how.multiSubnetFailover })
}

/**
 * Opens a TCP connection to a host: through a proxy, or to the first of its addresses that accepts.
 *
 * @throws PoolsmithError of Dialer.connect; the signal's reason
 */
export async function reach(dialer: Dialer, { signal, enter }: Pick<Reach, 'signal' | 'enter'>): Promise<Reached> {
  const { socket, endpoint, proxy } = await dialer.connect({
    signal,
    enter,
    keepAliveIdleMillis: KEEP_ALIVE_IDLE_MILLIS,
  })
  return { socket, peer: showEndpoint(endpoint), address: addressOf(endpoint), proxy }
}
