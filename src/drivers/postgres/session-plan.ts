import type { Socket } from 'node:net'
import type { Emit } from '../../events.ts'
import type { ProxyInfo } from '../driver.ts'
import type { Tunnel } from '../network/proxy/tunnel.ts'
import type { Reachability } from '../network/reachability.ts'
import type { Endpoint, Lookup } from '../network/socket.ts'
import type { AuthPolicy } from './auth-policy.ts'
import type { LoginResult } from './login.ts'
import type { PostgresOptions, SslMode } from './options.ts'
import type { TlsSettings } from './tls-settings.ts'
import type { Transport } from './transport.ts'
import type { ValueSettings } from './value-settings.ts'

/** The parts that are the same for every session of one driver at one place. */
export interface SessionPlan {
  readonly host: string
  readonly port: number
  /** The address to connect to in place of the host's own. */
  readonly hostaddr: string | undefined
  readonly login: string | undefined
  readonly database: string | undefined
  readonly sslMode: SslMode
  readonly options: PostgresOptions
  readonly policy: AuthPolicy
  readonly tls: TlsSettings
  readonly settings: ValueSettings
  readonly lookup: Lookup
  /** Which addresses of the host were reachable for earlier sessions. */
  readonly reachability: Reachability
  /** The tunnel through a proxy. Where there is one, nothing is opened directly. */
  readonly tunnel: Tunnel | undefined
  readonly emit: Emit
}

/** A session that the server has accepted, before pg has it. */
export interface Session {
  /** Of the place that it was opened at. */
  readonly plan: SessionPlan
  readonly user: string
  readonly database: string
  readonly endpoint: Endpoint
  /** The proxy on the way, and the login to it. */
  readonly proxy: ProxyInfo | undefined
  /** The socket below the transport: the connection to the server, or the tunnel. */
  readonly socket: Socket
  readonly transport: Transport
  readonly login: LoginResult
}
