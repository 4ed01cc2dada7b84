import type { Socket } from 'node:net'
import type { ProxyInfo } from '../../driver.ts'

export interface TunnelOptions {
  readonly signal: AbortSignal
  /** TCP keep-alive on the socket to the proxy. Off when undefined. */
  readonly keepAliveIdleMillis?: number | undefined
}

/** A stream whose other end is the target; the proxy only passes on. */
export interface OpenTunnel {
  readonly stream: Socket
  readonly info: ProxyInfo
}

/** The way to one host and port through a proxy. */
export interface Tunnel {
  /** The proxy without a login, as `http://proxy.example.com:3128`. */
  readonly proxy: string
  /**
   * Opens the stream; it carries a listener for `error` for ever, as one of connectSocket does.
   *
   * @throws PoolsmithError with the phase `proxy`; the signal's reason when it is aborted
   */
  open(options: TunnelOptions): Promise<OpenTunnel>
}

/** Decides what goes through a proxy: undefined means the direct way, which is never taken as a second choice. */
export type ProxyRouter = (host: string, port: number) => Tunnel | undefined
