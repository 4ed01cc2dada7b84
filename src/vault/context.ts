import type { RequestOptions } from 'node:http'

export interface VaultContext {
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly agent?: RequestOptions['agent'] | undefined
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly now?: () => number
  /** Under vault_auth=aws: a signed request for GetCallerIdentity, as of `now`. */
  readonly proveAws?: ((signal: AbortSignal, now: number) => Promise<AwsProof>) | undefined
}

/** A signed request that Vault sends in place of this process. */
export interface AwsProof {
  readonly url: URL
  readonly body: string
  readonly headers: Readonly<Record<string, string>>
}
