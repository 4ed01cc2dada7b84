/** Reads a table of PostgreSQL through COPY: its binary form into Arrow batches, its text forms into lines. */

import { createHash } from 'node:crypto'
import type { RecordBatch, Schema } from 'apache-arrow'
import type { Client } from 'pg'
import { PoolsmithError } from '../../errors.ts'
import { loadPackage } from '../../optional-package.ts'
import { ROW_HASH, refuseDoubles } from './column-names.ts'
import { type Arrow, reuse } from './columns/column.ts'
import {
  type Catalogue,
  type CatalogueColumn,
  describeQuery,
  document,
  findRelation,
  quotedRelation,
  quoteIdentifier,
  readCatalogue,
} from './postgres-catalogue.ts'
import { type Chosen, chooseColumns, chosenRows, type From, selectStatement } from './postgres-choice.ts'
import { CsvRows } from './postgres-csv.ts'
import { guardedExpression, mayBeFormula } from './postgres-formulas.ts'
import { baseType } from './postgres-ground.ts'
import { JsonRows, jsonColumn, jsonTextColumn } from './postgres-json.ts'
import { Lease } from './postgres-lease.ts'
import { fragment, inline } from './postgres-literals.ts'
import { planReading } from './postgres-plan.ts'
import { BinaryRows } from './postgres-rows.ts'
import { beginSnapshot } from './postgres-session.ts'
import { type ColumnPlan, planColumns, rowHashExpression, textColumn, textExpression } from './postgres-types.ts'
import type {
  ArrowRows,
  Choice,
  ExtractEngine,
  ExtractSource,
  LineRows,
  LineStyle,
  Lines,
  OpenOptions,
  OpenTable,
  PlanRequest,
  QuerySource,
  ReadOptions,
  ReadPlan,
  WhereCallback,
} from './reader.ts'
import { compileQuery, compileWhere } from './selection.ts'

const DEFAULT_SCHEMA = 'public'
const DEFAULT_QUERY_SCHEMA = 'query'
const DEFAULT_BATCH_ROWS = 32_768
const DEFAULT_BATCH_BYTES = 8 << 20

/** Opens a table or a query for reading. Dispose what it returns. */
export async function openPostgresTable(
  engine: ExtractEngine,
  source: ExtractSource,
  options: OpenOptions = {},
): Promise<OpenTable> {
  const query = 'query' in source ? querySql(source) : undefined
  const given =
    'query' in source
      ? { schema: source.schema ?? DEFAULT_QUERY_SCHEMA, name: source.name }
      : { schema: source.schema ?? DEFAULT_SCHEMA, name: source.table }
  const { signal, snapshot } = options
  const client = (await engine.pool.acquire({ signal }).promise) as Client
  const lease = new Lease(engine, client, quotedRelation(given), signal)
  try {
    return await lease.run(async () => {
      if (query !== undefined) {
        await beginSnapshot(client, undefined, snapshot)
        const catalogue = await describeQuery(client, query)
        const from = `(\n${query}\n) as ${quoteIdentifier(given.name)}`
        return new PostgresTable(engine, lease, { ...given, from, relation: undefined, query }, catalogue, options)
      }
      const relation = await findRelation(client, given.schema, given.name)
      await beginSnapshot(client, relation, snapshot)
      const now = await findRelation(client, given.schema, given.name)
      const catalogue = await readCatalogue(client, now.oid)
      return new PostgresTable(
        engine,
        lease,
        { ...given, from: quotedRelation(now), relation: now, query },
        catalogue,
        options,
      )
    })
  } catch (error) {
    await lease[Symbol.asyncDispose]()
    throw error
  }
}

function querySql(source: QuerySource): string {
  const compiled = compileQuery(source)
  return fragment(typeof compiled === 'string' ? compiled : inline(compiled))
}

class PostgresTable implements OpenTable {
  readonly schema: string
  readonly table: string
  readonly columnNames: readonly string[]
  readonly estimatedRows: number | undefined
  readonly notes: readonly string[]
  readonly query: string | undefined
  readonly #engine: ExtractEngine
  readonly #lease: Lease
  readonly #from: From
  readonly #catalogue: Catalogue
  readonly #columns: readonly CatalogueColumn[]
  readonly #options: ReadOptions
  readonly #asText: ReadonlySet<string>

  constructor(engine: ExtractEngine, lease: Lease, from: From, catalogue: Catalogue, options: ReadOptions) {
    this.#engine = engine
    this.#lease = lease
    this.#from = from
    this.#catalogue = catalogue
    this.#columns = chooseColumns(from, catalogue.columns, options)
    this.#options = options
    this.#asText = new Set(options.asText)
    this.schema = from.schema
    this.table = from.name
    this.query = from.query
    this.columnNames = [...this.#columns.map((column) => column.name), ...(options.rowHash ? [ROW_HASH] : [])]
    refuseDoubles(quotedRelation(from), this.columnNames, quoteIdentifier)
    this.estimatedRows = catalogue.estimatedRows ?? undefined
    this.notes = [
      ...(catalogue.rowSecurity ? ['Row-level security is on: these are the rows that the role may see.'] : []),
      ...(catalogue.serverEncoding === 'SQL_ASCII'
        ? ['The database has the encoding SQL_ASCII: no one has checked that its text is UTF-8.']
        : []),
    ]
  }

  plan(request: PlanRequest): Promise<ReadPlan> {
    const { client } = this.#lease
    const { from, relation } = this.#from
    const where = request.where === undefined ? undefined : this.#where(request.where)
    return this.#lease.run(() =>
      planReading(
        { client, catalogue: this.#catalogue, shown: quotedRelation(this.#from), from, relation },
        where,
        request,
      ),
    )
  }

  exportSnapshot(): Promise<string> {
    return this.#lease.run(() =>
      document<string>(this.#lease.client, 'select to_json(pg_catalog.pg_export_snapshot())::text'),
    )
  }

  onLost(tell: (error: PoolsmithError) => void): void {
    this.#lease.onLost(tell)
  }

  /** A lock of the transaction: it ends with the session, however that ends. */
  claim(name: string): Promise<boolean> {
    const number = createHash('sha256').update(name).digest().readBigInt64BE()
    return this.#lease.run(() =>
      document<boolean>(this.#lease.client, 'select to_json(pg_catalog.pg_try_advisory_xact_lock($1))::text', [
        String(number),
      ]),
    )
  }

  #tableColumnNames(): readonly string[] {
    return this.#columns.map((column) => column.name)
  }

  #where(callback: WhereCallback): string | undefined {
    const compiled = compileWhere(this.#engine, callback)
    return compiled === undefined ? undefined : fragment(inline(compiled))
  }

  #chosen(given: readonly Choice[] | undefined): Chosen {
    const named = { catalogue: this.#catalogue, shown: quotedRelation(this.#from) }
    if (given !== undefined) return chosenRows(this.#from, named, given)
    const where = this.#options.where === undefined ? undefined : this.#where(this.#options.where)
    return { from: this.#from.from, conditions: where === undefined ? [] : [where] }
  }

  async asArrow(given?: readonly Choice[]): Promise<ArrowRows> {
    const chosen = this.#chosen(given)
    const arrow = await loadPackage('apache-arrow', () => import('apache-arrow'), 'Reading a table as Arrow or Parquet')
    const plans = [
      ...planColumns(arrow, this.#catalogue, this.#columns, this.#asText),
      ...(this.#options.rowHash ? [textColumn(arrow, ROW_HASH, rowHashExpression(this.#tableColumnNames()))] : []),
    ]
    const schema = new arrow.Schema(plans.map((plan) => new arrow.Field(plan.name, plan.arrowType, true)))
    return {
      schema,
      columns: plans.map((plan) => ({
        name: plan.name,
        type: plan.declared,
        arrow: String(plan.arrowType),
        ...(plan.note === undefined ? {} : { note: plan.note }),
      })),
      batches: () => this.#batches(arrow, schema, plans, chosen),
      reuse: (batch) =>
        reuse(
          plans.map((plan) => plan.builder),
          batch,
        ),
      findings: () =>
        plans.flatMap((plan) => {
          const note = plan.builder.finding?.()
          return note === undefined ? [] : [{ column: plan.name, note }]
        }),
    }
  }

  asLines(format: 'csv' | 'jsonl', style: LineStyle, given?: readonly Choice[]): LineRows {
    const chosen = this.#chosen(given)
    const { rows, expressions } = format === 'csv' ? this.#csv(style) : this.#json(style)
    const form = format === 'csv' ? 'csv' : 'binary'
    const text = `copy (${this.#select(expressions, chosen)}) to stdout (format ${form})`
    return {
      columns: [
        ...this.#columns.map((column) => ({ name: column.name, type: column.declared })),
        ...(this.#options.rowHash ? [{ name: ROW_HASH, type: 'text' }] : []),
      ],
      lines: () => this.#lines(text, rows),
      reuse: (lines) => rows.reuse(lines),
    }
  }

  #csv({ suffix, guardFormulas = false }: LineStyle): {
    readonly rows: CsvRows
    readonly expressions: readonly string[]
  } {
    const expressions = this.#columns.map((column) => {
      if (guardFormulas && mayBeFormula(this.#catalogue, column)) {
        return guardedExpression(this.#catalogue, textExpression(this.#catalogue, column))
      }
      // The server's own text needs no casts, but for the columns where one was asked for.
      return this.#asText.has(column.name) ? textExpression(this.#catalogue, column) : quoteIdentifier(column.name)
    })
    if (this.#options.rowHash) expressions.push(rowHashExpression(this.#tableColumnNames()))
    return { rows: new CsvRows(suffix), expressions }
  }

  #json({ suffix }: LineStyle): { readonly rows: JsonRows; readonly expressions: readonly string[] } {
    const columns = this.#columns.map((column) =>
      this.#asText.has(column.name)
        ? jsonTextColumn(column.name, textExpression(this.#catalogue, column))
        : jsonColumn(column.name, baseType(this.#catalogue, column)),
    )
    if (this.#options.rowHash) columns.push(jsonTextColumn(ROW_HASH, rowHashExpression(this.#tableColumnNames())))
    return { rows: new JsonRows(columns, suffix), expressions: columns.map(({ expression }) => expression) }
  }

  async *#batches(
    arrow: Arrow,
    schema: Schema,
    plans: readonly ColumnPlan[],
    chosen: Chosen,
  ): AsyncGenerator<RecordBatch> {
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
    const select = this.#select(
      plans.map((plan) => plan.expression),
      chosen,
    )
    const sent = yield* this.#lease.copy(`copy (${select}) to stdout (format binary)`, rows)
    this.#check(rows.total, sent)
  }

  async *#lines(text: string, consumer: CsvRows | JsonRows): AsyncGenerator<Lines> {
    let rows = 0
    const items = this.#lease.copy(text, consumer)
    for (let item = await items.next(); ; item = await items.next()) {
      if (item.done) return this.#check(rows, item.value)
      rows += item.value.rows
      yield item.value
    }
  }

  #select(expressions: readonly string[], chosen: Chosen): string {
    return selectStatement(expressions, this.columnNames, chosen)
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
