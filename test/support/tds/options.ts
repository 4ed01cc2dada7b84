/** Part of the TDS server test double: how a test sets it up, and what it tells the test. */

import type { PostgresServer } from '../postgres.ts'
import type { TokenRules } from './fedauth.ts'

export interface SqlLogin {
  readonly password: string
  /** Error 18488: the password must be changed before the first use. */
  readonly mustChange?: boolean
  /** Error 18487: the password has expired. */
  readonly expired?: boolean
}

/** Takes a client's GSS tokens; the real one is test/support/gss-acceptor.ts. */
export interface SspiAcceptor {
  /** `principal` is there when the context stands; `output` goes back to the client. */
  step(token: Buffer): Promise<{ readonly output?: Buffer; readonly principal?: string }>
  close(): void
}

/** What an acceptor may ask of the login that it decides upon. */
export interface SspiLogin {
  /** The application data of the channel bindings (RFC 5929), from the server's end of the TLS session. */
  readonly channelBindings: () => Buffer | undefined
}

export interface TdsServerOptions {
  readonly postgres: Pick<PostgresServer, 'host' | 'port' | 'superuser' | 'superuserPassword'>
  /** SQL logins by name. */
  readonly logins?: Readonly<Record<string, string | SqlLogin>>
  /**
   * `off`: speaks TLS with who wants it. `required`: with everybody. `strict`: TDS 8.0 only. `not-supported`: with
   * nobody. Default: `off` with a certificate, else `not-supported`.
   */
  readonly encryption?: 'off' | 'required' | 'not-supported' | 'strict'
  /** Speaks TDS 8.0 with who begins so, besides what `encryption` says, as SQL Server 2022 does. */
  readonly strictToo?: boolean
  readonly tls?: { readonly cert: string; readonly key: string }
  readonly tokens?: TokenRules
  /** Asks for federated authentication in the PRELOGIN answer; a client must say that it heard it. */
  readonly fedAuthRequired?: boolean
  readonly sspi?: {
    readonly acceptor: (login: SspiLogin) => SspiAcceptor | Promise<SspiAcceptor>
    /** The last reply token comes with LOGINACK, or in a message before it. Default `together`. */
    readonly reply?: 'together' | 'apart'
    /** Who may log in. Default: everybody whose ticket is good. */
    readonly principals?: readonly string[]
  }
  /** Sends every login on to another server. */
  readonly routing?: { readonly server: string; readonly port: number }
  /**
   * Answers a request that it has seen before with the very bytes of the first time: for benchmarks, where PostgreSQL
   * and the translation would be the limit. State that a statement changes is not seen.
   */
  readonly replay?: boolean
  /** The instance's name. Default MSSQLSERVER. */
  readonly instance?: string
}

/** What a client said when it logged in. */
export interface LoginRecord {
  readonly spid: number
  readonly user: string
  readonly authentication: 'sql' | 'fedauth' | 'adal' | 'sspi'
  readonly applicationName: string
  readonly hostName: string
  readonly serverName: string
  readonly database: string
  readonly packetSize: number
  readonly tdsVersion: number
  readonly readOnlyIntent: boolean
  /** How LOGIN7 arrived. */
  readonly encryption: 'none' | 'login-only' | 'tls' | 'strict'
  readonly tlsServerName: string | undefined
  readonly sspiLength: number
  /** The first bytes of the first GSS token. */
  readonly sspiHead: Buffer
  readonly fedAuthEcho: boolean | undefined
  /** True when the login went through. */
  accepted: boolean
}

/** What happened on the server, for a test to look at. */
export interface Journal {
  readonly logins: LoginRecord[]
  /** The text of every batch and every sp_executesql, as it came. */
  readonly requests: string[]
  resets: number
  attentions: number
  /** Messages that the client took back while sending. */
  ignored: number
}
