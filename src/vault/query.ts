import type { Secret } from '../secret.ts'

/** A request to Vault, below `/v1/`. */
export interface Query {
  /** Completes "could not": `read secret/sales`. */
  readonly step: string
  readonly path: string
  /** Makes it a POST. */
  readonly body?: Readonly<Record<string, unknown>>
  readonly headers?: Readonly<Record<string, string>>
  /** The secrets in the body and the headers, which are taken out of Vault's words. */
  readonly secrets?: readonly Secret[]
}

export interface Answer {
  readonly status: number
  /** Empty for 204. */
  readonly body: Readonly<Record<string, unknown>>
}
