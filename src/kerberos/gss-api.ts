/** The parts of GSSAPI (RFC 2743, RFC 4121) that a driver needs, from any library. No pointer passes this interface. */

export type GssMechanism = 'krb5' | 'spnego'

/** The flags of RFC 2743 1.2.1 that we ask for or report. */
export type GssFlag = 'delegate' | 'mutual' | 'replay' | 'sequence' | 'confidentiality' | 'integrity'

/** The server: a service on a host as the user typed it, or a principal in full. */
export type GssTarget =
  | { readonly service: string; readonly host: string }
  /** `postgres/db.example.com@EXAMPLE.COM` */
  | { readonly principal: string }

export interface GssCallOptions {
  /** Ends the waiting. The call itself cannot be stopped, and goes on without holding up anything. */
  readonly signal?: AbortSignal | undefined
}

export interface AcquireCredentialOptions extends GssCallOptions {
  /** In full. Default: the principal of the cache. */
  readonly principal?: string | undefined
  /** A cache's name such as `FILE:/tmp/krb5cc_0`. Default: the cache that krb5 would take. */
  readonly cache?: string | undefined
  /** Default `krb5`. */
  readonly mechanism?: GssMechanism | undefined
}

export interface GssCredentialInfo {
  /** `alice@EXAMPLE.COM` */
  readonly principal: string
  /** Seconds that are left. */
  readonly lifetimeSeconds: number
}

/** An acquired credential. It neither renews itself nor notices a kinit: acquire one for each connection. */
export interface GssCredentialHandle extends Disposable {
  /** The cache and principal that it was asked for, for messages. */
  readonly cache: string | undefined
  readonly principal: string | undefined
  /** @throws TICKET_EXPIRED, TICKET_MISSING */
  inquire(options?: GssCallOptions): Promise<GssCredentialInfo>
}

export interface InitContextOptions {
  readonly target: GssTarget
  readonly flags: readonly GssFlag[]
  /** Default: the default credential. */
  readonly credential?: GssCredentialHandle
  /** Default `krb5`. */
  readonly mechanism?: GssMechanism
  /** The application data of channel bindings (RFC 2743 1.1.6, RFC 5929), which the server compares with its own. */
  readonly channelBindings?: Uint8Array | undefined
}

export interface GssStep {
  /** The token for the server; undefined when there is none to send. */
  readonly token: Buffer | undefined
  /** True when our side needs no more tokens. */
  readonly complete: boolean
}

export interface GssContextInfo {
  readonly initiator: string
  /** The server's principal as krb5 canonicalised it. */
  readonly target: string
  readonly lifetimeSeconds: number
  readonly flags: readonly GssFlag[]
}

/** One security context, on the initiator's side. Use it for one thing at a time. */
export interface GssContext extends Disposable {
  /** As asked for: `postgres@db.example.com` or the full principal. */
  readonly target: string
  readonly complete: boolean
  /** The flags that both sides agreed on; meaningful once complete. */
  readonly flags: readonly GssFlag[]
  /**
   * Begins the first step ahead, while the server is not ready for its token yet; {@link step} then waits for it and tells
   * its failure. Does nothing where a KDC would have to be asked.
   */
  prepare?(options?: GssCallOptions): void
  /** The first step takes no token. It may ask the KDC, and never runs on the event loop. */
  step(token?: Uint8Array, options?: GssCallOptions): Promise<GssStep>
  /** Encrypts and signs one message. */
  wrap(plaintext: Uint8Array): Buffer
  /** @throws GSS_MESSAGE_DAMAGED when it was altered, repeated, reordered, dropped, or sent without encryption. */
  unwrap(message: Uint8Array): Buffer
  /** How many bytes of plaintext fit in a message of at most this many bytes. */
  wrapSizeLimit(messageBytes: number): number
  inquire(): GssContextInfo
}

export interface GssApi {
  readonly provider: 'mit' | 'sspi'
  acquireCredential(options?: AcquireCredentialOptions): Promise<GssCredentialHandle>
  initContext(options: InitContextOptions): GssContext
}

export function targetName(target: GssTarget): string {
  return 'principal' in target ? target.principal : `${target.service}@${target.host}`
}
