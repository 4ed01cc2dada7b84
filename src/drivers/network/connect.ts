import type { Socket } from 'node:net'
import type { Phase } from '../../errors.ts'
import type { ProxyInfo } from '../driver.ts'
import type { Tunnel } from './proxy/tunnel.ts'
import { type ConnectOptions, connectSocket, type Endpoint } from './socket.ts'

export interface Connected {
  readonly socket: Socket
  /** The proxy that it goes through. */
  readonly proxy?: ProxyInfo
}

/**
 * Opens a stream to one endpoint: through the tunnel where there is one, and then never directly.
 *
 * @throws PoolsmithError of connectSocket, or with the phase `proxy`; the signal's reason
 */
export async function connectEndpoint(
  endpoint: Endpoint,
  tunnel: Tunnel | undefined,
  options: ConnectOptions & { readonly enter: (phase: Phase) => void },
): Promise<Connected> {
  const { enter } = options
  if (tunnel === undefined) {
    enter('connect')
    return { socket: await connectSocket(endpoint, options) }
  }
  enter('proxy')
  const { stream, info } = await tunnel.open(options)
  return { socket: stream, proxy: info }
}
