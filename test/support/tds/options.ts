/** Part of the TDS server test double: its settings, and its reports to the test. */

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
  /** `principal` is set once the context is established; `output` goes back to the client. */
  step(token: Buffer): Promise<{ readonly output?: Buffer; readonly principal?: string }>
  close(): void
}

/** Facts of the login for the acceptor's decision. */
export interface SspiLogin {
  /** The application data of the channel bindings (RFC 5929), from the server's end of the TLS session. */
  readonly channelBindings: () => Buffer | undefined
}

export interface TdsServerOptions {
  readonly postgres: Pick<PostgresServer, 'host' | 'port' | 'superuser' | 'superuserPassword'>
  /** The address and the port to listen at. Default: 127.0.0.1, and a free port. */
  readonly listen?: { readonly host?: string; readonly port?: number }
  /** SQL logins by name. ALTER LOGIN changes the object. */
  readonly logins?: Readonly<Record<string, string | SqlLogin>>
  /** The logins that may alter others. */
  readonly administrators?: readonly string[]
  /** The problem of a password that ALTER LOGIN would set, where it has one. */
  readonly passwordRule?: (password: string) => string | undefined
  /**
   * `off`: TLS where the client asks for it. `required`: always TLS. `strict`: TDS 8.0 only. `not-supported`: no TLS.
   * Default: `off` with a certificate, else `not-supported`.
   */
  readonly encryption?: 'off' | 'required' | 'not-supported' | 'strict'
  /** Also accepts clients that begin with TDS 8.0, as SQL Server 2022 does. */
  readonly strictToo?: boolean
  readonly tls?: { readonly cert: string; readonly key: string }
  readonly tokens?: TokenRules
  /** Asks for federated authentication in the PRELOGIN answer; a client must confirm it. */
  readonly fedAuthRequired?: boolean
  readonly sspi?: {
    readonly acceptor: (login: SspiLogin) => SspiAcceptor | Promise<SspiAcceptor>
    /** The last reply token arrives with LOGINACK, or in a message before it, as clients other than ours need it. Default `apart`. */
    readonly reply?: 'together' | 'apart'
    /** The principals that may log in. Default: every principal with a valid ticket. */
    readonly principals?: readonly string[]
  }
  /** Whether UTF8_SUPPORT is acknowledged, as from SQL Server 2019 on. Default: yes. */
  readonly utf8?: boolean
  /** The largest packets that are granted. Default: 32767, and 16383 where TLS covers the session. */
  readonly largestPacket?: number
  /** Whether clients that ask for MARS get it. Default: yes. */
  readonly mars?: boolean
  /** The version that LOGINACK names. Default: the one of the login. */
  readonly acknowledgedVersion?: number
  /** Routes every login to another server. */
  readonly routing?: { readonly server: string; readonly port: number }
  /**
   * Answers a repeated request with the bytes of the first answer: for benchmarks, where PostgreSQL and the translation
   * would be the limit. It ignores state that a statement changes.
   */
  readonly replay?: boolean
  /** The instance's name. Default MSSQLSERVER. */
  readonly instance?: string
}

/** The login request of a client. */
export interface LoginRecord {
  readonly spid: number
  readonly user: string
  readonly authentication: 'sql' | 'fedauth' | 'adal' | 'sspi'
  readonly applicationName: string
  readonly hostName: string
  readonly serverName: string
  readonly libraryName: string
  readonly clientVersion: number
  readonly clientId: Buffer
  readonly language: string
  readonly database: string
  readonly packetSize: number
  readonly tdsVersion: number
  readonly readOnlyIntent: boolean
  /** OptionFlags1, OptionFlags2, TypeFlags, OptionFlags3 of LOGIN7. */
  readonly flags: readonly number[]
  /** The features of LOGIN7 by their ids. */
  readonly features: readonly number[]
  /** The encryption under which LOGIN7 arrived. */
  readonly encryption: 'none' | 'login-only' | 'tls' | 'strict'
  readonly tlsServerName: string | undefined
  readonly sspiLength: number
  /** The first bytes of the first GSS token. */
  readonly sspiHead: Buffer
  readonly fedAuthEcho: boolean | undefined
  /** The feature FEDAUTH of LOGIN7 as it arrived. */
  readonly fedAuth: Buffer | undefined
  /** The options of PRELOGIN by their ids, in the client's order. */
  readonly prelogin: ReadonlyMap<number, Buffer>
  /** True when the login succeeded. */
  accepted: boolean
}

/** Records of the server's work, for tests. */
export interface Journal {
  readonly logins: LoginRecord[]
  /** The text of every batch and every sp_executesql, as it arrived. */
  readonly requests: string[]
  /** The declaration of the parameters of every sp_executesql that has some. */
  readonly declarations: string[]
  resets: number
  attentions: number
  /** Messages that the client cancelled while sending. */
  ignored: number
}
