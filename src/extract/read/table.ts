/** The seam between a database and everything that is done with its rows. */

import type { Knex } from 'knex'
import type { Connection } from '../../connections/connection.ts'
import type { BoundValue } from '../../drivers/sqlserver/bound-value.ts'
import type { PoolsmithError } from '../../errors.ts'
import type { Emit } from '../../events.ts'
import type { RecordBatch, Schema } from '../arrow-types.ts'

export type { BoundValue }

/** A table, partitioned or foreign table, view or materialised view; names as the catalogue spells them. */
export interface TableName {
  /** Default: `public` on PostgreSQL, `dbo` on SQL Server. */
  readonly schema?: string
  readonly table: string
}

/** The rows of a query in place of a table. */
export interface QuerySource {
  /**
   * A select of knex with its bound values; or SQL as text, which is code: never build it from values; or the form that
   * a plan keeps of such a select.
   */
  readonly query: Knex.QueryBuilder | Knex.Raw | BoundSql | string
  /** Used where a table's name would be: in the path, in the manifest and in errors. */
  readonly name: string
  /** Used where a table's schema would be. Default: `query`. */
  readonly schema?: string
}

/** SQL with its values apart: `?` stands for each value, `\?` for a question mark. */
export interface BoundSql {
  readonly sql: string
  readonly values: readonly BoundValue[]
}

/** One whole condition in the database's SQL: as text, or with its values apart where the database takes parameters. */
export type Condition = string | BoundSql

/** Pages of a table's file, counted from 0. */
export interface PageRange {
  readonly from: number
  /** The first page that is not read; null: to the end, with pages that are added later. */
  readonly to: number | null
}

/** One of the tables that a table consists of, or a range of its pages. */
export interface TableSlice {
  readonly schema: string
  readonly name: string
  /** Null for all of it. */
  readonly pages: PageRange | null
}

/** Values of a column, as the database writes them. */
export interface ValueRange {
  readonly column: string
  /** The smallest value; null: from the beginning, with the rows that have no value. */
  readonly from: string | null
  /** The smallest value that is not read; null: to the end. */
  readonly to: string | null
}

/** The rows of one part, as data: each session makes its own SQL of it. */
export type PartRows =
  | { readonly pages: PageRange }
  | { readonly tables: readonly TableSlice[] }
  | { readonly range: ValueRange }

/** Where a run with a watermark begins. */
export interface MarkSince {
  readonly high: string
  readonly identity: readonly string[]
  /** Hashes of the rows with this mark that were read before; null: all of them were. */
  readonly rows: readonly string[] | null
  /** Where rows are that came later and equal those in every column: `<table's oid>(<page>,<line>)`. */
  readonly copies: readonly string[]
}

/** The rows of a run with a watermark, as data: each session makes its own SQL of it. */
export interface MarkRange {
  /** The mark that the run ends with. */
  readonly watermark: Watermark
  /** Null: from the beginning. */
  readonly since: MarkSince | null
  /** Whether there was nothing new: then no row is read, even if rows have come since. */
  readonly isEmpty: boolean
}

/** The selection of rows. */
export type Choice = Condition | PartRows | { readonly mark: MarkRange }

/** A source of rows. */
export type ExtractSource = TableName | QuerySource

/** Adds conditions to a query: `(query) => query.where('carrier', carrier)`. Values are never spliced into SQL. */
export type WhereCallback = (query: Knex.QueryBuilder) => unknown

/** The parts of an engine that reading needs; `createEngine` gives one. */
export interface ExtractEngine {
  readonly connection: Connection
  /** Needed for `where` only. */
  queryBuilder?(): Knex.QueryBuilder
  readonly pool: {
    acquire(options?: { readonly signal?: AbortSignal | undefined }): { readonly promise: Promise<object> }
    release(raw: object): boolean
    invalidate(raw?: object): void
    /** Says how many connections the pool allows; without it partitions are read one after the other. */
    stats?(): { readonly max: number }
    /** Takes the event `audit`. */
    readonly events?: { readonly emit: Emit }
  }
}

export const DECIMAL_FORMS = ['text', 'wide'] as const
export type DecimalForm = (typeof DECIMAL_FORMS)[number]

/** Options of {@link readTable}: which rows and columns, and how. */
export interface ReadOptions {
  /** The columns to read, in this order. Default: all, in the table's order. */
  readonly columns?: readonly string[]
  /** Which rows to read. The callback may be called more than once. Default: all. */
  readonly where?: WhereCallback
  /**
   * Adds the column `_row_hash`: SHA-256 in lower-case hexadecimal of the row's columns as they are read, in their
   * order, under the same settings in every run (docs/extract.md says of which bytes exactly). Default false.
   */
  readonly rowHash?: boolean
  /** Columns to read as the server's own text, whatever their type. */
  readonly asText?: readonly string[]
  /**
   * Columns to read as bytes: on PostgreSQL those of the server's own text in the database's encoding, on SQL Server
   * those of the stored value. For text that is not in the encoding that the database says.
   */
  readonly asBytes?: readonly string[]
  /**
   * How decimals of 39 to 76 digits are read: `text`, exactly, because many readers of files refuse such decimals, and
   * some round them; or `wide`, as decimals of 256 bits. Default `text`.
   */
  readonly decimals?: DecimalForm
  /** The most rows in a batch. Default 32768. */
  readonly batchRows?: number
  /** Bytes, as they come over the wire, after which a batch ends. Default 8 MiB. */
  readonly batchBytes?: number
  /** Ends the reading: the statement is cancelled on the server, and the session is returned clean or closed. */
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

/** The database and the table that a plan was made for. Sessions on replicas of the same database have the same one. */
export interface Fingerprint {
  /**
   * On PostgreSQL the system identifier and the database's oid (`7412345678901234567/16384`), on SQL Server the
   * database's service_broker_guid.
   */
  readonly system: string
  /** The database's name. */
  readonly database: string
  /** The table's oid or object_id; empty for a query. */
  readonly table: string
}

/** The options of a caller, and those with which an extract opens further sessions. */
export interface OpenOptions extends ReadOptions {
  /** Of a plan: a session in another database is refused before anything is looked up in it. */
  readonly fingerprint?: Fingerprint | undefined
  /** The snapshot of another session, as its {@link OpenTable.exportSnapshot} named it. */
  readonly snapshot?: string | undefined
  /**
   * How many sessions are to read at one moment. A reader that cannot name its snapshot for others opens
   * {@link OpenTable.companions} for it. Default 1.
   */
  readonly sessions?: number
  /** The column of the watermark that is planned with it: some marks need a fact from before the snapshot. */
  readonly markColumn?: string | undefined
}

/** A mark's value: text keeps all digits. A Date is its instant in UTC. */
export type MarkValue = string | number | bigint | Date

/** How far an incremental extract has come, as plain JSON. Give it as `after` to the next run. */
export interface Watermark {
  readonly column: string
  /** The database's name for the column's type, without its precision. */
  readonly type: string
  /** The highest value read so far, as the database writes it; null when there was no row yet. */
  readonly high: string | null
  /** The columns that tell rows with the same mark apart: the primary key, else all columns. */
  readonly identity: readonly string[]
  /**
   * A hash of those columns of each row that has the highest mark and was read, 16 hexadecimal digits long, sorted;
   * null when all rows with that mark count as read.
   */
  readonly rows: readonly string[] | null
}

/** The parts to plan on the snapshot of an opened table. */
export interface PlanRequest {
  readonly where: WhereCallback | undefined
  readonly watermark:
    | {
        readonly column: string
        readonly after: MarkValue | Watermark | undefined
        /** Counts where `after` is a mark that does not fit the column any more. */
        readonly instead?: MarkValue | Watermark | undefined
        /** Counts where there is no `after`. */
        readonly from?: MarkValue | undefined
      }
    | undefined
  /** At least 1. */
  readonly partitions: number
  /** Divide by ranges of this column; without it the reader chooses. */
  readonly partitionBy: string | undefined
}

/** A part of the rows. All parts of a plan together are all rows, each row once. */
export interface Partition {
  /** For people: `pages 0 to 1200`. */
  readonly label: string
  /** Null when there is only one part. */
  readonly rows: PartRows | null
}

/** How to read: plain JSON, which holds in another session too. */
export interface ReadPlan {
  /** The conditions of `where`, in the database's SQL. */
  readonly conditions: readonly Condition[]
  /** The rows that the watermark chooses. */
  readonly mark: MarkRange | undefined
  readonly partitions: readonly Partition[]
  /** Whether the parts are places in the table's files, which hold other rows once the table is rewritten. */
  readonly byPlace: boolean
  /** Another text when the table was created again or rewritten. */
  readonly identity: string
  /** The moment that the session sees, where {@link OpenTable.changesSince} can tell what has changed since. */
  readonly moment?: string | undefined
  /** By the planner of the database. */
  readonly estimatedRows: number | undefined
  readonly notes: readonly string[]
}

/** The rows of a part now, compared with an earlier moment. */
export interface Changes {
  /** How many rows there are now. */
  readonly rows: number
  /** How many of them may have been written after that moment. */
  readonly later: number
}

/** The formats whose lines the databases themselves write. */
export type LineFormat = 'csv' | 'jsonl'

/** How rows are written as lines of text. */
export interface LineStyle {
  /** Ends each row, newline included. */
  readonly suffix: string
  /** CSV: whether text that a spreadsheet would take for a formula gets an apostrophe before it. Default false. */
  readonly guardFormulas?: boolean | undefined
}

/** Whole lines of text. The bytes belong to the receiver, until it gives them back by {@link LineRows.reuse}. */
export interface Lines {
  readonly bytes: Uint8Array
  readonly rows: number
}

/** The rows of a table as Arrow. */
export interface ArrowRows {
  readonly schema: Schema
  readonly columns: readonly TableColumn[]
  batches(): AsyncIterable<RecordBatch>
  /** Gives back the memory of the last batch that {@link batches} gave, which is not read any more. */
  reuse(batch: RecordBatch): void
  /** The notes about the values, such as infinities; complete after the last batch. */
  findings(): readonly { readonly column: string; readonly note: string }[]
}

/** The rows of a table as text. */
export interface LineRows {
  readonly columns: readonly TableColumn[]
  lines(): AsyncIterable<Lines>
  /** As {@link ArrowRows.reuse}. */
  reuse?(lines: Lines): void
}

/**
 * A table that is open for reading, once: a session in a read-only transaction on one snapshot.
 * Disposing it cancels a running statement and returns the session to the pool.
 */
export interface OpenTable extends AsyncDisposable {
  readonly schema: string
  readonly table: string
  readonly columnNames: readonly string[]
  /** By the catalogue, as of the last ANALYZE; absent when it does not know. */
  readonly estimatedRows: number | undefined
  readonly notes: readonly string[]
  /** The query's SQL with its values, for other sessions to open; undefined for a table. */
  readonly query?: Condition | undefined
  /**
   * Further sessions that see what this one sees, opened with it; disposed with it at the latest. Undefined when each
   * further session is to be opened by itself.
   */
  readonly companions?: readonly OpenTable[] | undefined
  /**
   * Loads apache-arrow. May be called again when the rows of the call before have been read.
   *
   * @param choices of a plan; default: the `where` of the options
   */
  asArrow(choices?: readonly Choice[]): Promise<ArrowRows>
  /** CSV without its header, or JSON Lines, as the server itself writes them. */
  asLines(format: LineFormat, style: LineStyle, choices?: readonly Choice[]): LineRows
  plan(request: PlanRequest): Promise<ReadPlan>
  fingerprint(): Promise<Fingerprint>
  /**
   * How the rows of a choice have changed since a moment that a plan names, in the view of this session; undefined when
   * that cannot be told. When their number is the same and none was written later, they are the same rows.
   */
  changesSince?(moment: string, choices: readonly Choice[]): Promise<Changes | undefined>
  /** Names the snapshot for other sessions, while this one is open. A database may not have such names. */
  exportSnapshot?(): Promise<string>
  /** Calls `tell` when the session is lost, and the snapshot with it. */
  onLost?(tell: (error: PoolsmithError) => void): void
  /**
   * Takes a lock of this name among all sessions of the database, until the session is returned; false when another
   * session has it. Absent where the database has no such locks.
   */
  claim?(name: string): Promise<boolean>
}
