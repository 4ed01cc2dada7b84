import type { CredentialKind, Life, RotationStatus } from './policy.ts'

/** A credential of a record, and what could be learnt of its life. */
export interface FoundCredential extends Life {
  readonly kind: CredentialKind
  /** The option that holds or names it: `password`, `sslcert`. */
  readonly option: string
  /** Whose it is: a login, a principal, the subject of a certificate. */
  readonly identity?: string | undefined
  /** Where it is kept: `the record`, `The secret secret/sales in Vault vault.example.com:8200`. */
  readonly place: string
  /** The sources of its life: `notAfter`, `rolvaliduntil`, `version 3 of the store`. */
  readonly sources: readonly string[]
  /** Why something is not known, and what else was seen. Without secrets. */
  readonly notes: readonly string[]
}

/** A credential, its age, and what the policy says of it. Times in milliseconds since the epoch. */
export interface CredentialAge extends FoundCredential {
  /** The id of the connection, or its type and place where it has none. */
  readonly connection: string
  readonly status: RotationStatus
  /** When it has to be replaced: the earlier of its end and the end of the age that the policy allows. */
  readonly dueAt?: number | undefined
}
