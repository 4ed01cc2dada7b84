import type { ConnectionInput } from '../connections/parse.ts'
import type { Reference } from '../connections/reference.ts'
import type { ConfigProblem } from '../errors.ts'
import type { Secret } from '../secret.ts'

/** The kinds of entries that a store may have. */
export type Kind = 'connection' | 'variable' | 'config'

/** Options of one look-up in a {@link Store}. */
export interface AskOptions {
  /** Ends the look-up, which then rejects with the reason. */
  readonly signal: AbortSignal
  /** The team of Airflow that asks. */
  readonly team?: string | undefined
  /** Past the cache of the store, if it has one. */
  readonly isFresh?: boolean | undefined
}

/** An entry that a store has. */
export interface Found<Value> {
  readonly value: Value
  /** How errors name its place: `The secret airflow/connections/sales of AWS Secrets Manager`. Default: the store. */
  readonly place?: string | undefined
  /** Warnings for the author of the entry. */
  readonly notes?: readonly ConfigProblem[] | undefined
  /** The other versions that may be right while it is rotated, in the order in which they are tried. */
  others?(signal: AbortSignal): Promise<readonly Value[]>
}

/**
 * A store of connections, variables and configuration. A store that lacks one of the kinds leaves out its method.
 *
 * Each method resolves to undefined when the store has no such entry, and the next store is asked. It rejects when the
 * store could not be asked, which ends the search.
 *
 * @example
 * const own: Store = {
 *   name: 'the table of connections',
 *   async getConnection(id) {
 *     const [row] = await rows('select uri from connections where id = $1', [id])
 *     return row && { value: row.uri }
 *   },
 * }
 * await createEngine('sales', { stores: { stores: [own] } })
 */
export interface Store {
  /** How errors name it: `Vault vault.example.com:8200`. */
  readonly name: string
  getConnection?(id: string, options: AskOptions): Promise<Found<ConnectionInput> | undefined>
  getVariable?(key: string, options: AskOptions): Promise<Found<string | Secret> | undefined>
  getConfig?(key: string, options: AskOptions): Promise<Found<string | Secret> | undefined>
  /** The ids of its connections, for a store that can list them. */
  connectionIds?(options: AskOptions): Promise<readonly string[]>
  /** Writes a connection, in place of the one that is there. */
  setConnection?(id: string, text: Secret, options: AskOptions): Promise<void>
  /** Writes a variable, in place of the one that is there. */
  setVariable?(key: string, text: Secret, options: AskOptions): Promise<void>
  close?(): void
}

/** A record that a store gave. Close it. */
export interface Origin {
  /** As errors name it. */
  readonly place: string
  /** Of the reference that named it. */
  readonly scheme?: Reference['scheme'] | undefined
  /** The record as the store has it now. @throws PoolsmithError SECRET_MISSING, STORE_… */
  read(signal: AbortSignal): Promise<Found<ConnectionInput>>
  close(): void
}
