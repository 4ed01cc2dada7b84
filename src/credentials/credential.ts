import type { PoolsmithError } from '../errors.ts'
import type { Secret } from '../secret.ts'

interface CredentialBase {
  /** The name of the identity, for audit and events: a role, an ARN, an object id, a certificate's subject. Never secret. */
  readonly identity: string
  /** The database user that this credential belongs to, when the strategy knows it better than the connection's login. */
  readonly user?: string
  /** Milliseconds since the epoch; absent when it does not expire. */
  readonly expiresAt?: number
  /** Milliseconds since the epoch at which it was obtained: its life is `expiresAt - issuedAt`. */
  readonly issuedAt: number
}

/** A password for the server's own password methods (SCRAM, md5, cleartext over TLS; a SQL login). */
export interface PasswordCredential extends CredentialBase {
  readonly kind: 'password'
  readonly password: Secret
}

/** A bearer token: it goes out only over an encrypted connection. */
export interface TokenCredential extends CredentialBase {
  readonly kind: 'token'
  readonly token: Secret
  /** By `host:port`, where the issuer makes one for each server of a list; `token` is that of the first. */
  readonly tokens?: Readonly<Record<string, Secret>>
}

/** A client certificate and its key, both PEM. */
export interface CertificateCredential extends CredentialBase {
  readonly kind: 'certificate'
  readonly certificate: string
  readonly privateKey: Secret
  readonly passphrase?: Secret
}

/** A Kerberos credential: what GSSAPI needs to find it; the ticket itself stays in its cache. */
export interface GssCredential extends CredentialBase {
  readonly kind: 'gss'
  readonly principal?: string
  /** The cache's name in full, `FILE:/tmp/krb5cc_1000`. */
  readonly cache?: string
  readonly keytab?: string
  /** Seconds that the ticket must have left when a connection is opened. */
  readonly minimumLifetimeSeconds?: number
}

/** A Windows account's password for NTLM, which a driver uses only when it is handed one of these. */
export interface NtlmCredential extends CredentialBase {
  readonly kind: 'ntlm'
  /** The short name of the Windows domain. */
  readonly domain: string
  readonly user: string
  readonly password: Secret
}

/** The result of a strategy. A driver switches on `kind` once. */
export type Credential = PasswordCredential | TokenCredential | CertificateCredential | GssCredential | NtlmCredential

/**
 * Where a pool gets its credential from, again and again.
 *
 * `current` is the hot path: it must answer at once from memory when it can, start a background refresh when
 * the credential nears its end, and return `undefined` only when the caller has to wait for `get`.
 */
export interface CredentialSource {
  /** The credential if it is good now; no waiting. */
  current(): Credential | undefined
  /** The credential, waiting for a fetch only when there is none that is still good. */
  get(signal?: AbortSignal): Promise<Credential>
  /**
   * Says that the server refused this credential. The next `get` fetches a fresh one;
   * returns false when a fresh one cannot differ (a fixed password), so that a second try is pointless.
   */
  reject(credential: Credential): boolean
  /** Called with the new credential whenever it changes; returns the way to stop. */
  onChange(listener: (credential: Credential) => void): () => void
  /** Why the latest fetch failed; absent once one succeeds. For the error of a caller that gave up waiting. */
  readonly failure?: PoolsmithError | undefined
  /** Stops timers and fetches in flight. Idempotent. */
  close(): void
  /** Gives the credentials back to their issuer, once every session has ended: a lease is revoked. Never rejects. */
  release?(): Promise<void>
}
