/** The facts of operations on secrets, credentials and API keys, and of extracts, for the audit log. */

import { channel } from 'node:diagnostics_channel'

interface OperationFacts {
  readonly outcome: 'success' | 'failure'
  /** The `code` of the error, after a failure. Never its message, which may name more. */
  readonly code?: string | undefined
  /** Who had it done, where that is not the operating-system user: a ticket, the name of a job. */
  readonly by?: string | undefined
  readonly durationMillis?: number | undefined
}

/** A credential was changed, or one step of that was done. */
export interface RotationFacts extends OperationFacts {
  readonly kind: 'rotation'
  /** The kind of it: `password`, `keytab`, `certificate`, `client_secret`. */
  readonly credential: string
  /** The id of the connection, or the user at the database. */
  readonly service: string
  /** The step that has ended, such as `pending`, `alter`, `verify`, `promote`; absent for the whole. */
  readonly step?: string | undefined
  /** SHA-256, in hex, of the old and the new one. */
  readonly oldHash?: string | undefined
  readonly newHash?: string | undefined
}

/** Something was done with an API key. */
export interface ApiKeyFacts extends OperationFacts {
  readonly kind: 'api_key'
  readonly action: 'generate' | 'rotate' | 'revoke' | 'validate' | 'list' | 'read'
  readonly service: string
  /** SHA-256, in hex, of the key, or its number: never the key. */
  readonly key?: string | undefined
}

/** A secret was read from a store, or written to it. */
export interface SecretFacts extends OperationFacts {
  readonly kind: 'secret'
  readonly action: 'read' | 'write'
  /** As messages name it: `secret/sales in Vault vault.example.com:8200`. */
  readonly place: string
  readonly version?: string | undefined
}

/** A table or a query was extracted into files, or into a function. Its statements have lines of their own. */
export interface ExtractFacts extends OperationFacts {
  readonly kind: 'extract'
  /** `schema.table`; absent for a query. */
  readonly table?: string | undefined
  readonly rows?: number | undefined
  readonly bytes?: number | undefined
}

/** One line for the audit log. No property holds a secret. */
export type AuditFacts = RotationFacts | ApiKeyFacts | SecretFacts | ExtractFacts

/** Takes lines for an audit log: `openAuditLog` of `poolsmith/audit` makes one. */
export interface AuditRecorder {
  /**
   * Resolves when the log has the line; under `required`, when it is durable.
   *
   * @throws PoolsmithError AUDIT_FAILED under `required`
   */
  record(facts: AuditFacts): Promise<void>
}

const told = channel('poolsmith:audit')

/**
 * Tells of an operation that belongs to no pool: the subscribers of the channel `poolsmith:audit`, then the log, where
 * there is one. Wait for it before the result is given to the caller.
 *
 * @throws PoolsmithError AUDIT_FAILED under `required`
 */
export async function tellAudit(facts: AuditFacts, log: AuditRecorder | undefined): Promise<void> {
  if (told.hasSubscribers) told.publish(facts)
  await log?.record(facts)
}
