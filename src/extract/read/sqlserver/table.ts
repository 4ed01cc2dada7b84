/** A table or a query of SQL Server, opened: one SELECT, whose fields go into Arrow batches or lines as they arrive. */

import type { RecordBatch, Schema } from 'apache-arrow'
import type { Statement } from '../../../drivers/sqlserver/bound-value.ts'
import { loadPackage } from '../../../optional-package.ts'
import { batchLimits } from '../batch-limits.ts'
import { chooseColumns, namesOf, ROW_HASH, refuseDoubles } from '../chosen-columns.ts'
import { type Arrow, type ColumnBuilder, reuse } from '../columns/column.ts'
import { checkRowCount } from '../failures.ts'
import { arrowColumns, findingsOf, lineColumns } from '../planned-column.ts'
import { APART } from '../ranges.ts'
import { type ReadForms, readForms } from '../read-forms.ts'
import { compileWhere } from '../sql/selection.ts'
import type {
  ArrowRows,
  BoundSql,
  Choice,
  Condition,
  ExtractEngine,
  Fingerprint,
  LineFormat,
  LineRows,
  LineStyle,
  Lines,
  OpenOptions,
  OpenTable,
  PlanRequest,
  ReadPlan,
  WhereCallback,
} from '../table.ts'
import { Batches } from './batches.ts'
import type { CatalogueColumn } from './catalogue.ts'
import { CsvLines } from './csv.ts'
import { databaseOf } from './fingerprint.ts'
import { columnOf, type Ground } from './ground.ts'
import { JsonLines } from './json.ts'
import type { Lease } from './lease.ts'
import { planReading } from './plan.ts'
import { RowHashColumn } from './row-hash.ts'
import { quoteIdentifier, shownSql, whole } from './sql.ts'
import { conditionOf, selectStatement } from './statement.ts'
import type { Together } from './together.ts'
import { bytesExpression, type ColumnPlan, planColumns, selectExpression } from './types.ts'

/** The server's description of the table or the query. */
export interface Found {
  readonly schema: string
  readonly name: string
  readonly ground: Ground
  readonly query: BoundSql | undefined
}

export class SqlServerTable implements OpenTable {
  readonly schema: string
  readonly table: string
  readonly columnNames: readonly string[]
  readonly estimatedRows: number | undefined
  readonly notes: readonly string[]
  readonly query: Condition | undefined
  readonly companions: readonly SqlServerTable[] | undefined
  readonly #engine: ExtractEngine
  readonly #lease: Lease
  readonly #ground: Ground
  readonly #columns: readonly CatalogueColumn[]
  readonly #options: OpenOptions
  readonly #forms: ReadForms
  readonly #together: Together | undefined

  /** @param together the sessions that read with this one */
  constructor(engine: ExtractEngine, lease: Lease, found: Found, options: OpenOptions, together?: Together) {
    const { schema, name, ground, query } = found
    this.#engine = engine
    this.#lease = lease
    this.#ground = ground
    this.#columns = chooseColumns(ground.columns, options, (column) => columnOf(ground, column))
    this.#options = options
    this.#forms = readForms(options)
    this.#together = together
    this.schema = schema
    this.table = name
    this.query = query === undefined ? undefined : shownSql(query)
    this.columnNames = namesOf(this.#columns, options)
    refuseDoubles(ground.shown, this.columnNames, quoteIdentifier)
    this.estimatedRows = ground.estimatedRows
    this.notes = snapshotNotes(ground)
    this.companions = together?.companions.map((companion) => new SqlServerTable(engine, companion, found, options))
  }

  async plan(request: PlanRequest): Promise<ReadPlan> {
    const where = request.where === undefined ? undefined : this.#where(request.where)
    const plan = await this.#lease.run(() => planReading(this.#ground, where, request))
    if (plan.partitions.length === 1) {
      // One session reads it; the others are returned.
      await this.#dismiss()
      return plan
    }
    return { ...plan, notes: [...plan.notes, this.#together?.note ?? APART] }
  }

  async fingerprint(): Promise<Fingerprint> {
    const { ask, table } = this.#ground
    return { ...(await this.#lease.run(() => databaseOf(ask))), table: String(table?.id ?? '') }
  }

  claim(name: string): Promise<boolean> {
    return this.#lease.run(() => this.#lease.claim(name))
  }

  #where(callback: WhereCallback): BoundSql | undefined {
    const conditions = compileWhere(this.#engine, callback)
    return conditions === undefined ? undefined : whole(conditions)
  }

  #conditions(choices: readonly Choice[] | undefined): readonly BoundSql[] {
    if (choices !== undefined) return choices.map((choice) => conditionOf(this.#ground, choice))
    const where = this.#options.where === undefined ? undefined : this.#where(this.#options.where)
    return where === undefined ? [] : [where]
  }

  async asArrow(choices?: readonly Choice[]): Promise<ArrowRows> {
    const conditions = this.#conditions(choices)
    const arrow = await loadPackage('apache-arrow', () => import('apache-arrow'), 'Reading a table as Arrow or Parquet')
    const plans = planColumns(arrow, this.#columns, this.#forms)
    const hash = this.#options.rowHash ? [{ ...HASH_COLUMN, arrowType: new arrow.Utf8() }] : []
    const all = [...plans, ...hash]
    const schema = new arrow.Schema(all.map((plan) => new arrow.Field(plan.name, plan.arrowType, true)))
    // They are made when the server says in which form it sends the columns.
    let builders: readonly ColumnBuilder[] = []
    const begin = (made: readonly ColumnBuilder[]): void => {
      builders = made
    }
    return {
      schema,
      columns: arrowColumns(all),
      batches: () => this.#batches(arrow, schema, plans, begin, conditions),
      reuse: (batch) => reuse(builders, batch),
      findings: () => findingsOf(plans, builders),
    }
  }

  async *#batches(
    arrow: Arrow,
    schema: Schema,
    plans: readonly ColumnPlan[],
    begin: (builders: readonly ColumnBuilder[]) => void,
    conditions: readonly BoundSql[],
  ): AsyncGenerator<RecordBatch> {
    const struct = new arrow.Struct(schema.fields)
    const rows = new Batches(
      batchLimits(this.#options),
      (sent) => {
        const builders: ColumnBuilder[] = plans.map((plan, index) => {
          const column = sent[index]
          if (column === undefined) throw new RangeError(`${sent.length} columns where ${plans.length} were asked for`)
          return plan.builder(column)
        })
        if (this.#options.rowHash) builders.push(new RowHashColumn(arrow, sent))
        begin(builders)
        return builders
      },
      (builders, length) => {
        const children = builders.map((builder) => builder.finish())
        return new arrow.RecordBatch(schema, arrow.makeData({ type: struct, length, nullCount: 0, children }))
      },
    )
    const sent = yield* this.#lease.fields(this.#select(conditions), rows)
    checkRowCount(rows.total, sent)
  }

  asLines(format: LineFormat, style: LineStyle, choices?: readonly Choice[]): LineRows {
    const conditions = this.#conditions(choices)
    const { rowHash = false } = this.#options
    const rows: CsvLines | JsonLines =
      format === 'csv'
        ? new CsvLines(style, rowHash)
        : new JsonLines(style.suffix, rowHash, this.columnNames, this.#forms.asText)
    return {
      columns: lineColumns([...this.#columns, ...(rowHash ? [HASH_COLUMN] : [])]),
      lines: () => this.#lines(this.#select(conditions, format), rows),
      ...(rows instanceof CsvLines ? { reuse: (lines: Lines) => rows.reuse(lines) } : {}),
    }
  }

  async *#lines(statement: Statement, rows: CsvLines | JsonLines): AsyncGenerator<Lines> {
    const sent = yield* this.#lease.fields(statement, rows)
    checkRowCount(rows.total, sent)
  }

  #select(conditions: readonly BoundSql[], format?: LineFormat): Statement {
    const columns = this.#columns.map((column) => {
      const { name } = column
      const { asText, asBytes } = this.#forms
      if (asBytes.has(name)) return { expression: bytesExpression(column), name }
      // CSV has of every column the text that `asText` gives.
      return { expression: selectExpression(column, format === 'csv' || asText.has(name)), name }
    })
    return selectStatement(this.#ground, columns, conditions)
  }

  async #dismiss(): Promise<void> {
    await Promise.all((this.companions ?? []).map((companion) => companion[Symbol.asyncDispose]()))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#dismiss()
    await this.#lease[Symbol.asyncDispose]()
  }
}

function snapshotNotes({ support, table }: Ground): string[] {
  if (support.transactions || support.frozen || table?.inMemory) return []
  if (support.statements) {
    return ['The rows are of the moment at which the statement began (READ_COMMITTED_SNAPSHOT).']
  }
  return [
    'Read under READ COMMITTED with locks, which is no snapshot: a row that was changed meanwhile may be there twice, ' +
      'or not at all. ALTER DATABASE … SET ALLOW_SNAPSHOT_ISOLATION ON makes it one.',
  ]
}

const HASH_COLUMN = { name: ROW_HASH, declared: 'char(64)' }
