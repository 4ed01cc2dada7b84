import type { RequestOptions } from 'node:http'
import type { Emit } from '../events.ts'
import type { Secret } from '../secret.ts'

export interface VaultContext {
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly agent?: RequestOptions['agent'] | undefined
  /** Is told of files that cannot be used for the moment. */
  readonly emit?: Emit | undefined
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly now?: () => number
  /** The proofs of identities of others. */
  readonly proofs?: VaultProofs | undefined
}

/** The proofs of identities by which Vault can be logged in to. Times in milliseconds since the epoch. */
export interface VaultProofs {
  /** A signed request for GetCallerIdentity. */
  aws(signal: AbortSignal, now: number): Promise<AwsProof>
  /** A token of Entra. */
  azure(signal: AbortSignal): Promise<Secret>
  /** A JWT of a service account of Google. */
  gcp(signal: AbortSignal, now: number): Promise<Secret>
  /** The value of the header Authorization, for one request. */
  kerberos(signal: AbortSignal): Promise<Secret>
  close(): void
}

/** A signed request that Vault sends in place of this process. */
export interface AwsProof {
  readonly url: URL
  readonly body: string
  readonly headers: Readonly<Record<string, string>>
}
