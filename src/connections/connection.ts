import type { Secret } from '../secret.ts'

/** The database families, under the names that knex and Airflow share. */
export type Dialect = 'postgres' | 'mssql'

/**
 * A connection record: where a database is and how to be let in. Plain, frozen, serialisable but for its secrets.
 * Built by `parseConnection` from any of the accepted forms.
 */
export interface Connection {
  /** The id under which a store knows it. */
  readonly id?: string
  readonly type: Dialect
  /** Several hosts are one text: `db1,db2`, or `db1:5432,db2:5433` where their ports differ. */
  readonly host?: string
  readonly port?: number
  readonly login?: string
  readonly password?: Secret
  /** The database's name (Airflow calls this field `schema`). */
  readonly database?: string
  readonly description?: string
  /** Everything else, as given; values under secret-looking keys are wrapped in {@link Secret}. */
  readonly extra: Readonly<Record<string, unknown>>
}
