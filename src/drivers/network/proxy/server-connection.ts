import { isIP, type Socket } from 'node:net'
// As a whole: an older Node has no getCACertificates, and would refuse an import by that name.
import * as tls from 'node:tls'
import type { CaFile } from '../../../credentials/trust-files.ts'
import { PoolsmithError } from '../../../errors.ts'
import { Dialer } from '../dialer.ts'
import { Reachability } from '../reachability.ts'
import { type Lookup, resolveHost } from '../socket.ts'
import { startTls } from '../tls.ts'
import type { ProxyAddress } from './address.ts'
import { inProxyPhase, type ProxyRoute, proxyError } from './errors.ts'
import type { TunnelOptions } from './tunnel.ts'

export interface ServerConnection {
  readonly stream: Socket
  /** The TLS version, under `https://`. */
  readonly tls?: string
}

/** Opens connections to one proxy itself: TCP, and TLS under `https://`. */
export class ProxyServer {
  readonly #address: ProxyAddress
  readonly #lookup: Lookup
  readonly #reachability = Reachability.ofAddresses()
  readonly #ca: CaFile | 'system' | undefined
  #latest: { readonly ca: string; readonly context: tls.SecureContext } | undefined

  /** @param ca a PEM file, or `system`. Default: Node's own list, and NODE_EXTRA_CA_CERTS */
  constructor(address: ProxyAddress, lookup: Lookup, ca: CaFile | 'system' | undefined) {
    this.#address = address
    this.#lookup = lookup
    this.#ca = ca
  }

  /** @throws PoolsmithError PROXY_UNREACHABLE, PROXY_TLS_FAILED, CA_FILE_…; the signal's reason */
  async connect(route: ProxyRoute, options: TunnelOptions): Promise<ServerConnection> {
    const socket = await this.#socket(route, options)
    if (this.#address.scheme !== 'https') return { stream: socket }
    const tls = await this.#tls(socket, route, options.signal)
    return { stream: tls, tls: tls.getProtocol() ?? 'unknown' }
  }

  async #socket(route: ProxyRoute, options: TunnelOptions): Promise<Socket> {
    const { host, port } = this.#address
    const { signal } = options
    let last: unknown
    try {
      const addresses = await resolveHost(host, this.#lookup, signal)
      const endpoints = addresses.map((address) => ({ kind: 'tcp', address, port }) as const)
      const { socket } = await new Dialer(endpoints, this.#reachability).connect({ ...options, enter: () => undefined })
      return socket
    } catch (error) {
      signal.throwIfAborted()
      last = error
    }
    if (!(last instanceof PoolsmithError)) throw last
    throw proxyError('PROXY_UNREACHABLE', `The proxy ${route.proxy} cannot be reached: ${last.message}`, route, {
      hint: 'Check `proxy` and that the proxy runs. The database is not tried without it.',
      transient: last.transient,
      details: { reason: last.code },
      cause: last,
    })
  }

  async #tls(socket: Socket, route: ProxyRoute, signal: AbortSignal): Promise<tls.TLSSocket> {
    const { host } = this.#address
    try {
      return await startTls(socket, {
        secureContext: await this.#secureContext(route),
        verify: 'hostname',
        host,
        serverName: isIP(host) === 0 ? host : undefined,
        alpn: 'http/1.1',
        signal,
      })
    } catch (error) {
      socket.destroy()
      signal.throwIfAborted()
      if (!(error instanceof PoolsmithError) || error.phase === 'proxy') throw error
      throw proxyError('PROXY_TLS_FAILED', `No trusted TLS to the proxy ${route.proxy}: ${error.message}`, route, {
        hint: 'Set proxy_ca to the authority that signed its certificate, and name it as the certificate does; a proxy that does not speak TLS itself is http://.',
        transient: error.transient,
        details: { reason: error.code },
        cause: error,
      })
    }
  }

  async #secureContext(route: ProxyRoute): Promise<tls.SecureContext> {
    if (this.#ca === undefined) return tls.createSecureContext({ minVersion: 'TLSv1.2' })
    if (this.#ca === 'system') return tls.createSecureContext({ ca: systemAuthorities(), minVersion: 'TLSv1.2' })
    let ca: string
    try {
      ca = await this.#ca.load()
    } catch (error) {
      if (!(error instanceof PoolsmithError)) throw error
      throw inProxyPhase(error, route, 'Set proxy_ca to a PEM file with the authority that signed its certificate.')
    }
    if (this.#latest?.ca !== ca) this.#latest = { ca, context: tls.createSecureContext({ ca, minVersion: 'TLSv1.2' }) }
    return this.#latest.context
  }
}

function systemAuthorities(): string[] {
  // Before Node 22.15 there is no way to ask.
  return typeof tls.getCACertificates === 'function' ? tls.getCACertificates('system') : [...tls.rootCertificates]
}
