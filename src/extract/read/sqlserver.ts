/** Reads a table of SQL Server: one SELECT, whose fields go into Arrow batches or lines as they come over the wire. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { RecordBatch, Schema } from 'apache-arrow'
import { rollback, runBatch } from '../../drivers/sqlserver/requests.ts'
import type { SqlServerConnection } from '../../drivers/sqlserver/tedious-connection.ts'
import { PoolsmithError } from '../../errors.ts'
import { loadPackage } from '../../optional-package.ts'
import { nearNames } from '../near-names.ts'
import type { Arrow, ColumnBuilder } from './columns/column.ts'
import type { ArrowRows, ExtractEngine, LineRows, Lines, OpenTable, ReadOptions, TableName } from './reader.ts'
import { type CompiledSql, compileWhere } from './selection.ts'
import {
  didYouMean,
  estimateRows,
  findTable,
  quoteBrackets,
  quotedTable,
  readColumns,
  type SnapshotSupport,
  type SqlServerColumn,
  type SqlServerTableId,
  snapshotSupport,
} from './sqlserver-catalogue.ts'
import { sqlServerReadFailure } from './sqlserver-failures.ts'
import { FieldBatches, FieldCsv, FieldJson } from './sqlserver-rows.ts'
import { asker, type FieldConsumer, FieldStatement } from './sqlserver-statement.ts'
import { planColumns, type SqlServerPlan, selectExpression } from './sqlserver-types.ts'

const DEFAULT_SCHEMA = 'dbo'
const DEFAULT_BATCH_ROWS = 32_768
const DEFAULT_BATCH_BYTES = 8 << 20
/** How long a table that somebody else keeps locked is waited for, when the session has no limit. */
const LOCK_TIMEOUT_MILLIS = 60_000
/** How long the server may take to end a cancelled statement, and to end the transaction. */
const CANCEL_MILLIS = 5000
const ROLLBACK_MILLIS = 5000

/** Opens a table for reading. Dispose what it returns. */
export async function openSqlServerTable(
  engine: ExtractEngine,
  name: TableName,
  options: ReadOptions = {},
): Promise<OpenTable> {
  const { signal } = options
  const schema = name.schema ?? DEFAULT_SCHEMA
  const where = options.where === undefined ? undefined : compileWhere(engine, options.where)
  const connection = (await engine.pool.acquire({ signal }).promise) as SqlServerConnection
  const lease = new Lease(engine, connection, quotedTable({ schema, name: name.table }), signal)
  try {
    return await lease.run(async () => {
      const ask = await asker(connection)
      const support = await snapshotSupport(ask)
      await lease.begin(support)
      const table = await findTable(ask, schema, name.table)
      const columns = await readColumns(ask, table)
      return new SqlServerTable(
        lease,
        { table, columns, support, estimatedRows: await estimateRows(ask, table) },
        where,
        options,
      )
    })
  } catch (error) {
    await lease[Symbol.asyncDispose]()
    throw error
  }
}

/** A session on loan from the pool, and the statement that runs on it. */
class Lease implements AsyncDisposable {
  readonly #engine: ExtractEngine
  readonly #connection: SqlServerConnection
  readonly #table: string
  readonly #signal: AbortSignal | undefined
  #statement: FieldStatement<unknown> | undefined
  #lost = false
  #returned = false

  constructor(engine: ExtractEngine, connection: SqlServerConnection, table: string, signal: AbortSignal | undefined) {
    this.#engine = engine
    this.#connection = connection
    this.#table = table
    this.#signal = signal
  }

  /** A transaction that sees one state of the database, where the database allows it. */
  async begin(support: SnapshotSupport): Promise<void> {
    await runBatch(this.#connection, `if @@lock_timeout = -1 set lock_timeout ${LOCK_TIMEOUT_MILLIS}`)
    if (!support.transactions) return
    const { ISOLATION_LEVEL } = await loadPackage('tedious', () => import('tedious'), 'Reading from SQL Server')
    await new Promise<void>((resolve, reject) => {
      this.#connection.beginTransaction((error) => (error ? reject(error) : resolve()), '', ISOLATION_LEVEL.SNAPSHOT)
    })
  }

  /** Runs short statements; the signal does not wait for them. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    const { promise: aborted, reject } = Promise.withResolvers<never>()
    const onAbort = (): void => reject(this.#signal?.reason)
    this.#signal?.addEventListener('abort', onAbort, { once: true })
    const working = work()
    try {
      this.#signal?.throwIfAborted()
      return await Promise.race([working, aborted])
    } catch (error) {
      // The statement that may still be running is nobody's any more: the session cannot be used again.
      if (this.#signal?.aborted) this.#lost = true
      working.catch(() => undefined)
      throw this.failure(error)
    } finally {
      this.#signal?.removeEventListener('abort', onAbort)
    }
  }

  async *fields<Item>(
    sql: string,
    bindings: readonly unknown[],
    consumer: FieldConsumer<Item>,
  ): AsyncGenerator<Item, number | undefined> {
    const statement = new FieldStatement(consumer)
    this.#statement = statement as FieldStatement<unknown>
    try {
      await statement.start(this.#connection, sql, bindings)
      for (let item = await statement.next(this.#signal); item !== undefined; ) {
        yield item
        item = await statement.next(this.#signal)
      }
      return statement.rows
    } catch (error) {
      throw this.failure(error)
    }
  }

  failure(error: unknown): PoolsmithError {
    const failure = sqlServerReadFailure(error, this.#table, this.#signal)
    if (failure.code === 'CONNECTION_LOST') this.#lost = true
    return failure
  }

  /** Cancels what still runs, ends the transaction and gives the session back: clean, or not at all. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#returned) return
    this.#returned = true
    const clean = await this.#clean()
    if (!clean) this.#engine.pool.invalidate(this.#connection)
    this.#engine.pool.release(this.#connection)
  }

  async #clean(): Promise<boolean> {
    if (this.#lost) return false
    const statement = this.#statement
    if (statement !== undefined && !statement.settled && !(await statement.stop(AbortSignal.timeout(CANCEL_MILLIS)))) {
      return false
    }
    try {
      const ended = this.#end().then(() => true)
      return await Promise.race([ended, sleep(ROLLBACK_MILLIS, false, { ref: false })])
    } catch {
      // A session that cannot even end its transaction is over.
      return false
    }
  }

  async #end(): Promise<void> {
    if (this.#connection.inTransaction) await rollback(this.#connection)
    // Not every server's reset of a session takes these back.
    await runBatch(
      this.#connection,
      `set transaction isolation level read committed; if @@lock_timeout = ${LOCK_TIMEOUT_MILLIS} set lock_timeout -1`,
    )
  }
}

/** What the catalogue says. */
interface Found {
  readonly table: SqlServerTableId
  readonly columns: readonly SqlServerColumn[]
  readonly support: SnapshotSupport
  readonly estimatedRows: number | undefined
}

class SqlServerTable implements OpenTable {
  readonly schema: string
  readonly table: string
  readonly columnNames: readonly string[]
  readonly estimatedRows: number | undefined
  readonly notes: readonly string[]
  readonly #lease: Lease
  readonly #columns: readonly SqlServerColumn[]
  readonly #where: CompiledSql | undefined
  readonly #options: ReadOptions
  readonly #asText: ReadonlySet<string>

  constructor(
    lease: Lease,
    { table, columns, support, estimatedRows }: Found,
    where: CompiledSql | undefined,
    options: ReadOptions,
  ) {
    this.#lease = lease
    this.#where = where
    this.#columns = chooseColumns(table, columns, options)
    this.#options = options
    this.#asText = new Set(options.asText)
    this.schema = table.schema
    this.table = table.name
    this.columnNames = this.#columns.map((column) => column.name)
    this.estimatedRows = estimatedRows
    this.notes = snapshotNotes(support)
  }

  async asArrow(conditions?: readonly string[]): Promise<ArrowRows> {
    const arrow = await loadPackage('apache-arrow', () => import('apache-arrow'), 'Reading a table as Arrow or Parquet')
    const plans = planColumns(arrow, this.#columns, this.#asText)
    const schema = new arrow.Schema(plans.map((plan) => new arrow.Field(plan.name, plan.arrowType, true)))
    let builders: readonly ColumnBuilder[] = []
    const begin = (made: readonly ColumnBuilder[]): void => {
      builders = made
    }
    return {
      schema,
      columns: plans.map((plan) => ({
        name: plan.name,
        type: plan.declared,
        arrow: String(plan.arrowType),
        ...(plan.note === undefined ? {} : { note: plan.note }),
      })),
      batches: () => this.#batches(arrow, schema, plans, begin, conditions),
      findings: () =>
        builders.flatMap((builder, index) => {
          const note = builder.finding?.()
          return note === undefined ? [] : [{ column: plans[index]?.name ?? '', note }]
        }),
    }
  }

  asLines(format: 'csv' | 'jsonl', suffix: string, conditions?: readonly string[]): LineRows {
    return {
      columns: this.#columns.map((column) => ({ name: column.name, type: column.declared })),
      lines: () => this.#lines(format, suffix, conditions),
    }
  }

  async *#batches(
    arrow: Arrow,
    schema: Schema,
    plans: readonly SqlServerPlan[],
    begin: (builders: readonly ColumnBuilder[]) => void,
    conditions: readonly string[] | undefined,
  ): AsyncGenerator<RecordBatch> {
    const struct = new arrow.Struct(schema.fields)
    const rows = new FieldBatches(
      {
        rows: this.#options.batchRows ?? DEFAULT_BATCH_ROWS,
        bytes: this.#options.batchBytes ?? DEFAULT_BATCH_BYTES,
      },
      (sent) => {
        const builders = plans.map((plan, index) => {
          const metadata = sent[index]
          if (metadata === undefined)
            throw new RangeError(`${sent.length} columns where ${plans.length} were asked for`)
          return plan.builder(metadata)
        })
        begin(builders)
        return builders
      },
      (builders, length) => {
        const children = builders.map((builder) => builder.finish())
        return new arrow.RecordBatch(schema, arrow.makeData({ type: struct, length, nullCount: 0, children }))
      },
    )
    const sent = yield* this.#lease.fields(this.#select(conditions), this.#bindings(conditions), rows)
    this.#check(rows.total, sent)
  }

  async *#lines(
    format: 'csv' | 'jsonl',
    suffix: string,
    conditions: readonly string[] | undefined,
  ): AsyncGenerator<Lines> {
    const rows = format === 'csv' ? new FieldCsv(suffix) : new FieldJson(suffix, this.columnNames, this.#asText)
    const sent = yield* this.#lease.fields(this.#select(conditions, format), this.#bindings(conditions), rows)
    this.#check(rows.total, sent)
  }

  #select(conditions: readonly string[] | undefined, format?: 'csv' | 'jsonl'): string {
    const list = this.#columns.map((column) => {
      // As text, CSV and JSON show what a column that is asked for as text would.
      const forceText = format === 'csv' || this.#asText.has(column.name)
      return `${selectExpression(column, forceText)} as ${quoteBrackets(column.name)}`
    })
    const all = conditions ?? (this.#where === undefined ? [] : [this.#where.native])
    const where = all.length === 0 ? '' : ` where ${all.map((condition) => `(${condition})`).join(' and ')}`
    return `select ${list.join(', ')} from ${quotedTable({ schema: this.schema, name: this.table })}${where}`
  }

  #bindings(conditions: readonly string[] | undefined): readonly unknown[] {
    return conditions === undefined ? (this.#where?.bindings ?? []) : []
  }

  #check(decoded: number, sent: number | undefined): void {
    if (sent === undefined || decoded === sent) return
    throw new PoolsmithError(`The server says that it sent ${sent} rows, but ${decoded} arrived.`, {
      code: 'EXTRACT_PROTOCOL',
      phase: 'query',
      hint: 'Report this with the server version.',
    })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#lease[Symbol.asyncDispose]()
  }
}

function snapshotNotes(support: SnapshotSupport): string[] {
  if (support.transactions) return []
  if (support.statements) {
    return ['The rows are of the moment at which the statement began (READ_COMMITTED_SNAPSHOT).']
  }
  return [
    'Read under READ COMMITTED with locks, which is no snapshot: a row that was changed meanwhile may be there twice, ' +
      'or not at all. ALTER DATABASE … SET ALLOW_SNAPSHOT_ISOLATION ON makes it one.',
  ]
}

function chooseColumns(
  table: SqlServerTableId,
  columns: readonly SqlServerColumn[],
  options: ReadOptions,
): readonly SqlServerColumn[] {
  const byName = new Map(columns.map((column) => [column.name, column]))
  const pick = (name: string): SqlServerColumn => {
    const found = byName.get(name)
    if (found !== undefined) return found
    const near = nearNames(name, [...byName.keys()])
    throw new PoolsmithError(`${quotedTable(table)} has no column ${quoteBrackets(name)}.${didYouMean(near)}`, {
      code: 'COLUMN_NOT_FOUND',
      phase: 'query',
      hint: 'Give the column as the catalogue spells it; names are case-sensitive here.',
      details: { column: name, near },
    })
  }
  for (const name of options.asText ?? []) pick(name)
  return options.columns === undefined ? columns : [...new Set(options.columns)].map(pick)
}
