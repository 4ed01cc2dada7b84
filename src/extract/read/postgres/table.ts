/** A table or query of PostgreSQL, opened: COPY in its binary form into Arrow batches, and as lines of text. */

import { createHash } from 'node:crypto'
import type { RecordBatch, Schema } from 'apache-arrow'
import type { PoolsmithError } from '../../../errors.ts'
import { loadPackage } from '../../../optional-package.ts'
import { batchLimits } from '../batch-limits.ts'
import { chooseColumns, namesOf, ROW_HASH, refuseDoubles } from '../chosen-columns.ts'
import { type Arrow, reuse } from '../columns/column.ts'
import { checkRowCount } from '../failures.ts'
import { arrowColumns, findingsOf, lineColumns } from '../planned-column.ts'
import { type ReadForms, readForms } from '../read-forms.ts'
import { compileWhere } from '../sql/selection.ts'
import type {
  ArrowRows,
  Changes,
  Choice,
  ExtractEngine,
  Fingerprint,
  LineFormat,
  LineRows,
  LineStyle,
  Lines,
  OpenTable,
  PlanRequest,
  ReadOptions,
  ReadPlan,
  WhereCallback,
} from '../table.ts'
import { Batches } from './batches.ts'
import { type CatalogueColumn, document } from './catalogue.ts'
import { changesSince } from './changes.ts'
import { CsvLines } from './csv.ts'
import { databaseOf } from './fingerprint.ts'
import { guardedExpression, mayBeFormula } from './formulas.ts'
import { baseType, columnOf, type Ground } from './ground.ts'
import { JsonLines, jsonColumn, jsonNote, jsonTextColumn, serverJsonColumn } from './json.ts'
import type { Lease } from './lease.ts'
import { planReading } from './plan.ts'
import { fragment, inline, quotedTable, quoteIdentifier } from './sql.ts'
import { type Chosen, chosenRows, copyStatement } from './statement.ts'
import {
  bytesExpression,
  type ColumnPlan,
  planColumns,
  rowHashExpression,
  textColumn,
  textExpression,
} from './types.ts'

/** The server's description of the table or the query. */
export interface Found {
  readonly schema: string
  readonly query: string | undefined
  readonly ground: Ground
}

/** The lines of a format, and the expressions that the server is asked for. */
interface LineReading {
  readonly lines: CsvLines | JsonLines
  readonly form: 'binary' | 'csv'
  readonly expressions: readonly string[]
}

export class PostgresTable implements OpenTable {
  readonly schema: string
  readonly table: string
  readonly columnNames: readonly string[]
  readonly estimatedRows: number | undefined
  readonly notes: readonly string[]
  readonly query: string | undefined
  readonly #engine: ExtractEngine
  readonly #lease: Lease
  readonly #ground: Ground
  readonly #columns: readonly CatalogueColumn[]
  readonly #options: ReadOptions
  readonly #forms: ReadForms

  constructor(engine: ExtractEngine, lease: Lease, { schema, query, ground }: Found, options: ReadOptions) {
    const { catalogue, shown, name } = ground
    this.#engine = engine
    this.#lease = lease
    this.#ground = ground
    this.#columns = chooseColumns(catalogue.columns, options, (column) => columnOf(ground, column))
    this.#options = options
    this.#forms = readForms(options)
    this.schema = schema
    this.table = name
    this.query = query
    this.columnNames = namesOf(this.#columns, options)
    refuseDoubles(shown, this.columnNames, quoteIdentifier)
    this.estimatedRows = catalogue.estimatedRows ?? undefined
    this.notes = [
      ...(catalogue.rowSecurity ? ['Row-level security is on: these are the rows that the role may see.'] : []),
      ...(catalogue.rowSecurity ? [] : catalogue.policed).map(
        (table) => `Row-level security is on in ${quotedTable(table)}, which this reads: its policies may hide rows.`,
      ),
      ...(catalogue.serverEncoding === 'SQL_ASCII'
        ? ['The database has the encoding SQL_ASCII, which does not check that text is UTF-8.']
        : []),
    ]
  }

  plan(request: PlanRequest): Promise<ReadPlan> {
    const where = request.where === undefined ? undefined : this.#where(request.where)
    return this.#lease.run(() => planReading(this.#ground, where, request))
  }

  async fingerprint(): Promise<Fingerprint> {
    const { client, table } = this.#ground
    return { ...(await this.#lease.run(() => databaseOf(client))), table: String(table?.oid ?? '') }
  }

  changesSince(moment: string, choices: readonly Choice[]): Promise<Changes | undefined> {
    return this.#lease.run(() => changesSince(this.#ground, moment, choices))
  }

  exportSnapshot(): Promise<string> {
    return this.#lease.run(() =>
      document<string>(this.#lease.client, 'select to_json(pg_catalog.pg_export_snapshot())::text'),
    )
  }

  onLost(tell: (error: PoolsmithError) => void): void {
    this.#lease.onLost(tell)
  }

  /** An advisory lock of the transaction, which ends with the session in any case. */
  claim(name: string): Promise<boolean> {
    const number = createHash('sha256').update(name).digest().readBigInt64BE()
    return this.#lease.run(() =>
      document<boolean>(this.#lease.client, 'select to_json(pg_catalog.pg_try_advisory_xact_lock($1))::text', [
        String(number),
      ]),
    )
  }

  #where(callback: WhereCallback): string | undefined {
    const compiled = compileWhere(this.#engine, callback)
    return compiled === undefined ? undefined : fragment(inline(compiled))
  }

  #chosen(choices: readonly Choice[] | undefined): Chosen {
    if (choices !== undefined) return chosenRows(this.#ground, choices)
    const where = this.#options.where === undefined ? undefined : this.#where(this.#options.where)
    return { from: this.#ground.from, conditions: where === undefined ? [] : [where] }
  }

  #rowHash(): string {
    return rowHashExpression(
      this.#ground.catalogue,
      this.#columns.map((column) => column.name),
    )
  }

  async asArrow(choices?: readonly Choice[]): Promise<ArrowRows> {
    const chosen = this.#chosen(choices)
    const arrow = await loadPackage('apache-arrow', () => import('apache-arrow'), 'Reading a table as Arrow or Parquet')
    const plans = [
      ...planColumns(arrow, this.#ground.catalogue, this.#columns, this.#forms),
      ...(this.#options.rowHash ? [textColumn(arrow, ROW_HASH, this.#rowHash())] : []),
    ]
    const builders = plans.map((plan) => plan.builder)
    const schema = new arrow.Schema(plans.map((plan) => new arrow.Field(plan.name, plan.arrowType, true)))
    return {
      schema,
      columns: arrowColumns(plans),
      batches: () => this.#batches(arrow, schema, plans, chosen),
      reuse: (batch) => reuse(builders, batch),
      findings: () => findingsOf(plans, builders),
    }
  }

  async *#batches(
    arrow: Arrow,
    schema: Schema,
    plans: readonly ColumnPlan[],
    chosen: Chosen,
  ): AsyncGenerator<RecordBatch> {
    const struct = new arrow.Struct(schema.fields)
    const builders = plans.map((plan) => plan.builder)
    const rows = new Batches(builders, batchLimits(this.#options), (length) => {
      const children = builders.map((builder) => builder.finish())
      return new arrow.RecordBatch(schema, arrow.makeData({ type: struct, length, nullCount: 0, children }))
    })
    const expressions = plans.map((plan) => plan.expression)
    const sent = yield* this.#lease.copy(copyStatement(expressions, this.columnNames, chosen, 'binary'), rows)
    checkRowCount(rows.total, sent)
  }

  asLines(format: LineFormat, style: LineStyle, choices?: readonly Choice[]): LineRows {
    const chosen = this.#chosen(choices)
    const { lines, form, expressions } = format === 'csv' ? this.#csv(style) : this.#json(style)
    const text = copyStatement(expressions, this.columnNames, chosen, form)
    return {
      columns: lineColumns([
        ...this.#columns.map((column) => ({
          ...column,
          note: format === 'jsonl' ? this.#jsonNote(column) : undefined,
        })),
        ...(this.#options.rowHash ? [{ name: ROW_HASH, declared: 'text' }] : []),
      ]),
      lines: () => this.#lines(text, lines),
      reuse: (block) => lines.reuse(block),
    }
  }

  #csv({ suffix, guardFormulas = false }: LineStyle): LineReading {
    const { catalogue } = this.#ground
    const expressions = this.#columns.map((column) => {
      if (this.#forms.asBytes.has(column.name)) return bytesExpression(catalogue, column)
      if (guardFormulas && mayBeFormula(catalogue, column)) {
        return guardedExpression(catalogue, textExpression(catalogue, column))
      }
      // CSV has the server's own text of every type, so only the columns of `asText` are cast.
      return this.#forms.asText.has(column.name) ? textExpression(catalogue, column) : quoteIdentifier(column.name)
    })
    if (this.#options.rowHash) expressions.push(this.#rowHash())
    return { lines: new CsvLines(suffix), form: 'csv', expressions }
  }

  #json({ suffix }: LineStyle): LineReading {
    const { catalogue } = this.#ground
    const { asText, asBytes } = this.#forms
    const columns = this.#columns.map((column) => {
      const { name } = column
      if (asText.has(name)) return jsonTextColumn(name, textExpression(catalogue, column))
      if (asBytes.has(name)) return serverJsonColumn(name, bytesExpression(catalogue, column))
      return jsonColumn(name, baseType(catalogue, column))
    })
    if (this.#options.rowHash) columns.push(jsonTextColumn(ROW_HASH, this.#rowHash()))
    const expressions = columns.map(({ expression }) => expression)
    return { lines: new JsonLines(columns, suffix), form: 'binary', expressions }
  }

  #jsonNote(column: CatalogueColumn): string | undefined {
    const { asText, asBytes } = this.#forms
    if (asText.has(column.name) || asBytes.has(column.name)) return undefined
    return jsonNote(this.#ground.catalogue, baseType(this.#ground.catalogue, column))
  }

  async *#lines(text: string, consumer: CsvLines | JsonLines): AsyncGenerator<Lines> {
    let rows = 0
    const items = this.#lease.copy(text, consumer)
    for (let item = await items.next(); ; item = await items.next()) {
      if (item.done) return checkRowCount(rows, item.value)
      rows += item.value.rows
      yield item.value
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#lease[Symbol.asyncDispose]()
  }
}
