/** A table or a query of SQL Server, opened: one SELECT, whose fields go into Arrow batches or lines as they come. */

import type { RecordBatch, Schema } from 'apache-arrow'
import { PoolsmithError } from '../../errors.ts'
import { loadPackage } from '../../optional-package.ts'
import { ROW_HASH, refuseDoubles } from './column-names.ts'
import { type Arrow, type ColumnBuilder, reuse } from './columns/column.ts'
import type {
  ArrowRows,
  BoundSql,
  Choice,
  Condition,
  ExtractEngine,
  LineRows,
  LineStyle,
  Lines,
  OpenOptions,
  OpenTable,
  PlanRequest,
  ReadOptions,
  ReadPlan,
  WhereCallback,
} from './reader.ts'
import { compileWhere } from './selection.ts'
import { compiled, type Statement, shownSql, sql, whereClause, whole } from './sqlserver-bound.ts'
import { quoteBrackets, type SqlServerColumn } from './sqlserver-catalogue.ts'
import { conditionOf } from './sqlserver-choice.ts'
import { columnNamed, type SqlServerGround } from './sqlserver-ground.ts'
import type { Lease } from './sqlserver-lease.ts'
import { planReading } from './sqlserver-plan.ts'
import { RowHashColumn } from './sqlserver-row-hash.ts'
import { FieldBatches, FieldCsv, FieldJson } from './sqlserver-rows.ts'
import type { Together } from './sqlserver-together.ts'
import { planColumns, type SqlServerPlan, selectExpression } from './sqlserver-types.ts'

const DEFAULT_BATCH_ROWS = 32_768
const DEFAULT_BATCH_BYTES = 8 << 20

/** As asked for, or as the catalogue spells it. */
export interface Given {
  readonly schema: string
  readonly name: string
}

/** What the server says of the table or the query. */
export interface Found extends Given {
  readonly ground: SqlServerGround
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
  readonly #ground: SqlServerGround
  readonly #lease: Lease
  readonly #together: Together | undefined
  readonly #columns: readonly SqlServerColumn[]
  readonly #options: OpenOptions
  readonly #asText: ReadonlySet<string>

  constructor(engine: ExtractEngine, found: Found, options: OpenOptions, lease: Lease, together: Together | undefined) {
    const { ground, query } = found
    this.#engine = engine
    this.#ground = ground
    this.#lease = lease
    this.#together = together
    this.#columns = chooseColumns(ground, options)
    this.#options = options
    this.#asText = new Set(options.asText)
    this.schema = found.schema
    this.table = found.name
    this.query = query === undefined ? undefined : shownSql(query)
    this.columnNames = [...this.#columns.map((column) => column.name), ...(options.rowHash ? [ROW_HASH] : [])]
    refuseDoubles(ground.shown, this.columnNames, quoteBrackets)
    this.estimatedRows = ground.estimatedRows
    this.notes = snapshotNotes(ground)
    this.companions = together?.companions.map((one) => new SqlServerTable(engine, found, options, one, undefined))
  }

  async plan(request: PlanRequest): Promise<ReadPlan> {
    const where = request.where === undefined ? undefined : this.#where(request.where)
    const plan = await this.#lease.run(() => planReading(this.#ground, where, request))
    if (plan.partitions.length === 1) {
      // Nothing for the others to do.
      await this.#dismiss()
      return plan
    }
    return { ...plan, notes: [...plan.notes, this.#together?.note ?? APART] }
  }

  claim(name: string): Promise<boolean> {
    return this.#lease.run(() => this.#lease.claim(name))
  }

  #where(callback: WhereCallback): BoundSql | undefined {
    const conditions = compileWhere(this.#engine, callback)
    return conditions === undefined ? undefined : whole(conditions)
  }

  #conditions(given: readonly Choice[] | undefined): readonly BoundSql[] {
    if (given !== undefined) return given.map((choice) => conditionOf(this.#ground, choice))
    const where = this.#options.where === undefined ? undefined : this.#where(this.#options.where)
    return where === undefined ? [] : [where]
  }

  async asArrow(given?: readonly Choice[]): Promise<ArrowRows> {
    const conditions = this.#conditions(given)
    const arrow = await loadPackage('apache-arrow', () => import('apache-arrow'), 'Reading a table as Arrow or Parquet')
    const plans = planColumns(arrow, this.#columns, this.#asText)
    const fields = plans.map((plan) => new arrow.Field(plan.name, plan.arrowType, true))
    if (this.#options.rowHash) fields.push(new arrow.Field(ROW_HASH, new arrow.Utf8(), true))
    const schema = new arrow.Schema(fields)
    let builders: readonly ColumnBuilder[] = []
    const begin = (made: readonly ColumnBuilder[]): void => {
      builders = made
    }
    return {
      schema,
      columns: [
        ...plans.map((plan) => ({
          name: plan.name,
          type: plan.declared,
          arrow: String(plan.arrowType),
          ...(plan.note === undefined ? {} : { note: plan.note }),
        })),
        ...(this.#options.rowHash ? [{ ...HASH_COLUMN, arrow: 'Utf8' }] : []),
      ],
      batches: () => this.#batches(arrow, schema, plans, begin, conditions),
      reuse: (batch) => reuse(builders, batch),
      findings: () =>
        builders.flatMap((builder, index) => {
          const note = builder.finding?.()
          return note === undefined ? [] : [{ column: plans[index]?.name ?? '', note }]
        }),
    }
  }

  asLines(format: 'csv' | 'jsonl', style: LineStyle, given?: readonly Choice[]): LineRows {
    const conditions = this.#conditions(given)
    return {
      columns: [
        ...this.#columns.map((column) => ({ name: column.name, type: column.declared })),
        ...(this.#options.rowHash ? [HASH_COLUMN] : []),
      ],
      lines: () => this.#lines(format, style, conditions),
    }
  }

  async *#batches(
    arrow: Arrow,
    schema: Schema,
    plans: readonly SqlServerPlan[],
    begin: (builders: readonly ColumnBuilder[]) => void,
    conditions: readonly BoundSql[],
  ): AsyncGenerator<RecordBatch> {
    const struct = new arrow.Struct(schema.fields)
    const rows = new FieldBatches(
      {
        rows: this.#options.batchRows ?? DEFAULT_BATCH_ROWS,
        bytes: this.#options.batchBytes ?? DEFAULT_BATCH_BYTES,
      },
      (sent) => {
        const builders: ColumnBuilder[] = plans.map((plan, index) => {
          const metadata = sent[index]
          if (metadata === undefined)
            throw new RangeError(`${sent.length} columns where ${plans.length} were asked for`)
          return plan.builder(metadata)
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
    this.#check(rows.total, sent)
  }

  async *#lines(format: 'csv' | 'jsonl', style: LineStyle, conditions: readonly BoundSql[]): AsyncGenerator<Lines> {
    const { rowHash = false } = this.#options
    const rows =
      format === 'csv'
        ? new FieldCsv(style, rowHash)
        : new FieldJson(style.suffix, rowHash, this.columnNames, this.#asText)
    const sent = yield* this.#lease.fields(this.#select(conditions, format), rows)
    this.#check(rows.total, sent)
  }

  #select(conditions: readonly BoundSql[], format?: 'csv' | 'jsonl'): Statement {
    const list = this.#columns.map((column) => {
      // As text, CSV and JSON show what a column that is asked for as text would.
      const forceText = format === 'csv' || this.#asText.has(column.name)
      return `${selectExpression(column, forceText)} as ${quoteBrackets(column.name)}`
    })
    const { before, from } = this.#ground
    return compiled(sql`${before}select ${list.join(', ')} from ${from}${whereClause(conditions)}`)
  }

  #check(decoded: number, sent: number | undefined): void {
    if (sent === undefined || decoded === sent) return
    throw new PoolsmithError(`The server says that it sent ${sent} rows, but ${decoded} arrived.`, {
      code: 'EXTRACT_PROTOCOL',
      phase: 'query',
      hint: 'Report this with the server version.',
    })
  }

  async #dismiss(): Promise<void> {
    await Promise.all((this.companions ?? []).map((companion) => companion[Symbol.asyncDispose]()))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#dismiss()
    await this.#lease[Symbol.asyncDispose]()
  }
}

function snapshotNotes({ support, table }: SqlServerGround): string[] {
  if (support.transactions || support.frozen || table?.inMemory) return []
  if (support.statements) {
    return ['The rows are of the moment at which the statement began (READ_COMMITTED_SNAPSHOT).']
  }
  return [
    'Read under READ COMMITTED with locks, which is no snapshot: a row that was changed meanwhile may be there twice, ' +
      'or not at all. ALTER DATABASE … SET ALLOW_SNAPSHOT_ISOLATION ON makes it one.',
  ]
}

function chooseColumns(ground: SqlServerGround, options: ReadOptions): readonly SqlServerColumn[] {
  for (const name of options.asText ?? []) columnNamed(ground, name)
  if (options.columns === undefined) return ground.columns
  return [...new Set(options.columns)].map((name) => columnNamed(ground, name))
}

const HASH_COLUMN = { name: ROW_HASH, type: 'char(64)' }
const APART =
  'Each part was read at a moment of its own: a row that was changed meanwhile may be there twice, or not at all.'
