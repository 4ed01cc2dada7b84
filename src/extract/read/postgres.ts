/** Reads a table of PostgreSQL through COPY: its binary form into Arrow batches, its text forms into lines. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { RecordBatch, Schema } from 'apache-arrow'
import type { Client } from 'pg'
import { PoolsmithError } from '../../errors.ts'
import { loadPackage } from '../../optional-package.ts'
import { nearNames } from '../near-names.ts'
import type { Arrow } from './columns/column.ts'
import {
  type Catalogue,
  type CatalogueColumn,
  didYouMean,
  findRelation,
  quotedRelation,
  quoteIdentifier,
  type Relation,
  readCatalogue,
} from './postgres-catalogue.ts'
import { type CopyConsumer, CopyOut } from './postgres-copy.ts'
import { endsSession, readFailure } from './postgres-failures.ts'
import { CsvRows, JsonRows } from './postgres-lines.ts'
import { BinaryRows } from './postgres-rows.ts'
import { beginSnapshot, cancelStatement } from './postgres-session.ts'
import { type ColumnPlan, planColumns, textExpression } from './postgres-types.ts'
import type { ArrowRows, ExtractEngine, LineRows, Lines, OpenTable, ReadOptions, TableName } from './reader.ts'

const DEFAULT_SCHEMA = 'public'
const DEFAULT_BATCH_ROWS = 32_768
const DEFAULT_BATCH_BYTES = 8 << 20
/** How long the end of a transaction that has changed nothing may take. */
const ROLLBACK_MILLIS = 5000

/** Opens a table for reading. Dispose what it returns. */
export async function openPostgresTable(
  engine: ExtractEngine,
  name: TableName,
  options: ReadOptions = {},
): Promise<OpenTable> {
  const { signal } = options
  const schema = name.schema ?? DEFAULT_SCHEMA
  const shown = quotedRelation({ schema, name: name.table })
  const client = (await engine.pool.acquire({ signal }).promise) as Client
  const lease = new Lease(engine, client, shown, signal)
  try {
    return await lease.run(async () => {
      const relation = await findRelation(client, schema, name.table)
      await beginSnapshot(client, relation)
      const now = await findRelation(client, schema, name.table)
      const catalogue = await readCatalogue(client, now.oid)
      return new PostgresTable(lease, now, catalogue, options)
    })
  } catch (error) {
    await lease[Symbol.asyncDispose]()
    throw error
  }
}

/** A session on loan from the pool, and the statement that runs on it. */
class Lease implements AsyncDisposable {
  readonly #engine: ExtractEngine
  readonly client: Client
  readonly table: string
  readonly signal: AbortSignal | undefined
  #copy: CopyOut<unknown> | undefined
  #lost = false
  #returned = false
  /** pg says on the client what it has said to the statement; unheard it would end the process. */
  readonly #onError = (): void => {
    this.#lost = true
  }

  constructor(engine: ExtractEngine, client: Client, table: string, signal: AbortSignal | undefined) {
    this.#engine = engine
    this.client = client
    this.table = table
    this.signal = signal
    client.on('error', this.#onError)
  }

  /** Runs short statements; the signal does not wait for them. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    const { promise: aborted, reject } = Promise.withResolvers<never>()
    const onAbort = (): void => reject(this.signal?.reason)
    this.signal?.addEventListener('abort', onAbort, { once: true })
    const working = work()
    try {
      this.signal?.throwIfAborted()
      return await Promise.race([working, aborted])
    } catch (error) {
      // The statement that may still be running is nobody's any more: the session cannot be used again.
      if (this.signal?.aborted) this.#lost = true
      working.catch(() => undefined)
      throw this.failure(error)
    } finally {
      this.signal?.removeEventListener('abort', onAbort)
    }
  }

  async *copy<Item>(text: string, consumer: CopyConsumer<Item>): AsyncGenerator<Item, number> {
    const copy = new CopyOut(text, consumer)
    this.#copy = copy as CopyOut<unknown>
    try {
      this.client.query(copy)
      for (let item = await copy.next(this.signal); item !== undefined; item = await copy.next(this.signal)) yield item
      return copy.rows
    } catch (error) {
      throw this.failure(error)
    }
  }

  failure(error: unknown): PoolsmithError {
    const failure = readFailure(error, this.table, this.signal)
    if (endsSession(failure)) this.#lost = true
    return failure
  }

  /** Cancels what still runs, ends the transaction and gives the session back: clean, or not at all. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#returned) return
    this.#returned = true
    const clean = await this.#clean()
    if (!clean) this.#engine.pool.invalidate(this.client)
    // A session that the pool closes may still has something to say about it.
    setImmediate(() => this.client.off('error', this.#onError))
    this.#engine.pool.release(this.client)
  }

  async #clean(): Promise<boolean> {
    if (this.#lost) return false
    const copy = this.#copy
    if (copy !== undefined && !copy.settled && !(await cancelStatement(this.#engine, this.client, copy))) return false
    try {
      const ended = this.client.query('rollback').then(() => true)
      return (await Promise.race([ended, sleep(ROLLBACK_MILLIS, false, { ref: false })])) && !this.#lost
    } catch {
      return false
    }
  }
}

class PostgresTable implements OpenTable {
  readonly schema: string
  readonly table: string
  readonly columnNames: readonly string[]
  readonly estimatedRows: number | undefined
  readonly notes: readonly string[]
  readonly #lease: Lease
  readonly #catalogue: Catalogue
  readonly #columns: readonly CatalogueColumn[]
  readonly #options: ReadOptions
  readonly #asText: ReadonlySet<string>

  constructor(lease: Lease, relation: Relation, catalogue: Catalogue, options: ReadOptions) {
    this.#lease = lease
    this.#catalogue = catalogue
    this.#columns = chooseColumns(relation, catalogue.columns, options)
    this.#options = options
    this.#asText = new Set(options.asText)
    this.schema = relation.schema
    this.table = relation.name
    this.columnNames = this.#columns.map((column) => column.name)
    this.estimatedRows = catalogue.estimatedRows ?? undefined
    this.notes = [
      ...(catalogue.rowSecurity ? ['Row-level security is on: these are the rows that the role may see.'] : []),
      ...(catalogue.serverEncoding === 'SQL_ASCII'
        ? ['The database has the encoding SQL_ASCII: no one has checked that its text is UTF-8.']
        : []),
    ]
  }

  async asArrow(): Promise<ArrowRows> {
    const arrow = await loadPackage('apache-arrow', () => import('apache-arrow'), 'Reading a table as Arrow or Parquet')
    const plans = planColumns(arrow, this.#catalogue, this.#columns, this.#asText)
    const schema = new arrow.Schema(plans.map((plan) => new arrow.Field(plan.name, plan.arrowType, true)))
    return {
      schema,
      columns: plans.map((plan) => ({
        name: plan.name,
        type: plan.declared,
        arrow: String(plan.arrowType),
        ...(plan.note === undefined ? {} : { note: plan.note }),
      })),
      batches: () => this.#batches(arrow, schema, plans),
      findings: () =>
        plans.flatMap((plan) => {
          const note = plan.builder.finding?.()
          return note === undefined ? [] : [{ column: plan.name, note }]
        }),
    }
  }

  asLines(format: 'csv' | 'jsonl', suffix: string): LineRows {
    return {
      columns: this.#columns.map((column) => ({ name: column.name, type: column.declared })),
      lines: () => this.#lines(format, suffix),
    }
  }

  async *#batches(arrow: Arrow, schema: Schema, plans: readonly ColumnPlan[]): AsyncGenerator<RecordBatch> {
    const struct = new arrow.Struct(schema.fields)
    const finish = (length: number): RecordBatch => {
      const children = plans.map((plan) => plan.builder.finish())
      return new arrow.RecordBatch(schema, arrow.makeData({ type: struct, length, nullCount: 0, children }))
    }
    const rows = new BinaryRows(
      plans.map((plan) => plan.builder),
      {
        rows: this.#options.batchRows ?? DEFAULT_BATCH_ROWS,
        bytes: this.#options.batchBytes ?? DEFAULT_BATCH_BYTES,
      },
      finish,
    )
    const select = this.#select(plans.map((plan) => plan.expression))
    const sent = yield* this.#lease.copy(`copy (${select}) to stdout (format binary)`, rows)
    this.#check(rows.total, sent)
  }

  async *#lines(format: 'csv' | 'jsonl', suffix: string): AsyncGenerator<Lines> {
    // The server's own text needs no casts, but for the columns where one was asked for.
    const select = this.#select(
      this.#columns.map((column) =>
        this.#asText.has(column.name) ? textExpression(this.#catalogue, column) : quoteIdentifier(column.name),
      ),
    )
    const [text, consumer] =
      format === 'csv'
        ? [`copy (${select}) to stdout (format csv)`, new CsvRows(suffix)]
        : [
            `copy (select pg_catalog.row_to_json(r) from (${select}) r) to stdout ` +
              `(format csv, quote e'\\x01', delimiter e'\\x02')`,
            new JsonRows(suffix),
          ]
    let rows = 0
    const items = this.#lease.copy(text, consumer)
    for (let item = await items.next(); ; item = await items.next()) {
      if (item.done) return this.#check(rows, item.value)
      rows += item.value.rows
      yield item.value
    }
  }

  #select(expressions: readonly string[]): string {
    const list = expressions.map(
      (expression, index) => `${expression} as ${quoteIdentifier(this.columnNames[index] ?? '')}`,
    )
    return `select ${list.join(', ')} from ${quotedRelation({ schema: this.schema, name: this.table })}`
  }

  #check(decoded: number, sent: number): void {
    if (decoded === sent) return
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

function chooseColumns(
  relation: Relation,
  columns: readonly CatalogueColumn[],
  options: ReadOptions,
): readonly CatalogueColumn[] {
  const byName = new Map(columns.map((column) => [column.name, column]))
  const pick = (name: string): CatalogueColumn => {
    const found = byName.get(name)
    if (found !== undefined) return found
    const near = nearNames(name, [...byName.keys()])
    const table = quotedRelation(relation)
    throw new PoolsmithError(`${table} has no column ${quoteIdentifier(name)}.${didYouMean(near)}`, {
      code: 'COLUMN_NOT_FOUND',
      phase: 'query',
      hint: 'Give the column as the catalogue spells it; names are case-sensitive here.',
      details: { column: name, near },
    })
  }
  for (const name of options.asText ?? []) pick(name)
  return options.columns === undefined ? columns : [...new Set(options.columns)].map(pick)
}
