/** The seam between a database and everything that is done with its rows. */

import type { RecordBatch, Schema } from 'apache-arrow'
import type { Connection } from '../../connections/connection.ts'

/** A table, partitioned or foreign table, view or materialised view; names as the catalogue spells them. */
export interface TableName {
  /** Default: `public` on PostgreSQL. */
  readonly schema?: string
  readonly table: string
}

/** What is needed of an engine: `createEngine` gives it. */
export interface ExtractEngine {
  readonly connection: Connection
  readonly pool: {
    acquire(options?: { readonly signal?: AbortSignal | undefined }): { readonly promise: Promise<object> }
    release(raw: object): boolean
    invalidate(raw: object): void
  }
}

export interface ReadOptions {
  /** The columns to read, in this order. Default: all, in the table's order. */
  readonly columns?: readonly string[]
  /** Columns to read as the server's own text, whatever their type. */
  readonly asText?: readonly string[]
  /** The most rows in a batch. Default 32768. */
  readonly batchRows?: number
  /** Bytes, as they come over the wire, after which a batch ends. Default 8 MiB. */
  readonly batchBytes?: number
  /** Ends the reading: the statement is cancelled on the server and the session goes back clean, or is closed. */
  readonly signal?: AbortSignal
}

/** A column as it is read. */
export interface TableColumn {
  readonly name: string
  /** The database's name for its type, as in `numeric(12,2)`. */
  readonly type: string
  /** The Arrow type, as in `Decimal[12e+2]`; absent where rows are read as lines of text. */
  readonly arrow?: string
  /** Why this is not the type that one might expect. */
  readonly note?: string
}

/** Whole lines of text. The bytes belong to the receiver. */
export interface Lines {
  readonly bytes: Uint8Array
  readonly rows: number
}

/** The rows of a table as Arrow. */
export interface ArrowRows {
  readonly schema: Schema
  readonly columns: readonly TableColumn[]
  batches(): AsyncIterable<RecordBatch>
  /** What the values themselves had to say, such as infinities; complete after the last batch. */
  findings(): readonly { readonly column: string; readonly note: string }[]
}

/** The rows of a table as text. */
export interface LineRows {
  readonly columns: readonly TableColumn[]
  lines(): AsyncIterable<Lines>
}

/**
 * A table opened for reading, once: a session in a read-only transaction on one snapshot.
 * Disposing it gives the session back, and cancels what still runs.
 */
export interface OpenTable extends AsyncDisposable {
  readonly schema: string
  readonly table: string
  readonly columnNames: readonly string[]
  /** By the catalogue, as of the last ANALYZE; absent when it does not know. */
  readonly estimatedRows: number | undefined
  readonly notes: readonly string[]
  /** Loads apache-arrow. */
  asArrow(): Promise<ArrowRows>
  /** CSV without its header (a newline ends each row), or JSON Lines, made by the server; `suffix` ends each row. */
  asLines(format: 'csv' | 'jsonl', suffix: string): LineRows
}
