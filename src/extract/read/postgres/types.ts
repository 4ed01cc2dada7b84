/** How each PostgreSQL type is read: the expression in the select list, and the Arrow column (docs/types.md). */

import type { DataType } from 'apache-arrow'
import { BytesColumn, EnumColumn, UuidColumn } from '../columns/bytes.ts'
import type { Arrow, ColumnBuilder } from '../columns/column.ts'
import { MoneyColumn, NumericColumn } from '../columns/decimal.ts'
import {
  BoolColumn,
  Float32Column,
  Float64Column,
  Int16Column,
  Int32Column,
  Int64Column,
  Uint32Column,
} from '../columns/fixed.ts'
import { ListColumn } from '../columns/list.ts'
import { DateColumn, TimeOfDayColumn, TimestampColumn } from '../columns/moments.ts'
import type { ReadForms } from '../read-forms.ts'
import type { Catalogue, CatalogueColumn, CatalogueType } from './catalogue.ts'
import { quoteIdentifier } from './sql.ts'

/** One column of the statement, and the builder of its values. */
export interface ColumnPlan {
  readonly name: string
  readonly declared: string
  /** The expression in the select list. */
  readonly expression: string
  readonly arrowType: DataType
  readonly builder: ColumnBuilder
  readonly note?: string
}

interface Shape {
  readonly arrowType: DataType
  readonly builder: ColumnBuilder
  /** `text`: cast to text; `texts`: cast to text[]; `bytes`: the bytes of its text; undefined: not cast. */
  readonly cast?: 'text' | 'texts' | 'bytes'
  readonly note?: string
}

/** A type's shape may depend on these. */
interface Context {
  readonly arrow: Arrow
  readonly catalogue: Catalogue
  readonly column: string
  /** Whether decimals of more than 38 digits are read as such. */
  readonly wideDecimals: boolean
}

type Simple = (arrow: Arrow, column: string) => Shape

function shape(arrowType: DataType, builder: ColumnBuilder): Shape {
  return { arrowType, builder }
}

const utf8: Simple = (arrow) => shape(new arrow.Utf8(), new BytesColumn(arrow, new arrow.Utf8()))
const unsigned: Simple = (arrow) => shape(new arrow.Int64(), new Uint32Column(arrow, new arrow.Int64()))

/** The built-in types that are read in their binary form, by oid (pg_type.dat), which never changes. */
const BUILT_IN: ReadonlyMap<number, Simple> = new Map<number, Simple>([
  [16, (arrow) => shape(new arrow.Bool(), new BoolColumn(arrow))],
  [17, (arrow) => shape(new arrow.Binary(), new BytesColumn(arrow, new arrow.Binary()))],
  [19, utf8], // name
  [20, (arrow) => shape(new arrow.Int64(), new Int64Column(arrow, new arrow.Int64()))],
  [21, (arrow) => shape(new arrow.Int16(), new Int16Column(arrow))],
  [23, (arrow) => shape(new arrow.Int32(), new Int32Column(arrow))],
  [25, utf8], // text
  [26, unsigned], // oid
  [28, unsigned], // xid
  [29, unsigned], // cid
  [114, utf8], // json
  [700, (arrow) => shape(new arrow.Float32(), new Float32Column(arrow))],
  [701, (arrow) => shape(new arrow.Float64(), new Float64Column(arrow))],
  [1042, utf8], // character(n), with its padding
  [1043, utf8], // varchar
  [1082, (arrow) => shape(new arrow.DateDay(), new DateColumn(arrow))],
  [1083, (arrow) => shape(new arrow.TimeMicrosecond(), new TimeOfDayColumn(arrow))], // time
  [
    1114,
    (arrow, column) =>
      shape(new arrow.TimestampMicrosecond(), new TimestampColumn(arrow, new arrow.TimestampMicrosecond(), column)),
  ],
  [
    1184,
    (arrow, column) => {
      const type = new arrow.TimestampMicrosecond('UTC')
      return shape(type, new TimestampColumn(arrow, type, column))
    },
  ],
  [2950, (arrow) => shape(new arrow.Utf8(), new UuidColumn(arrow))],
  [3802, (arrow) => shape(new arrow.Utf8(), new BytesColumn(arrow, new arrow.Utf8(), 1))], // jsonb
])
const NUMERIC = 1700
const MONEY = 790

/** Decimal digits that fit into 128 and 256 bits. */
const DIGITS_128 = 38
const DIGITS_256 = 76
/** Digits of the largest 64-bit integer, which money is. */
const MONEY_DIGITS = 19

function asText(context: Context, note: string): Shape {
  return { ...utf8(context.arrow, context.column), cast: 'text', note }
}

function decimal(context: Context, modifier: number): Shape {
  if (modifier < 0) return asText(context, 'numeric without a declared precision: exact text')
  const declaredPrecision = ((modifier - 4) >>> 16) & 0xffff
  // Eleven bits with a sign, from PostgreSQL 15 on.
  const declaredScale = (((modifier - 4) & 0x7ff) ^ 0x400) - 0x400
  // A negative scale rounds to tens or hundreds: whole numbers of more digits. A scale beyond the precision is a
  // fraction with leading zeros. File formats have neither.
  const scale = Math.max(0, declaredScale)
  const precision = Math.max(declaredPrecision - Math.min(0, declaredScale), scale)
  if (precision > DIGITS_256) return asText(context, `more than ${DIGITS_256} digits: exact text`)
  if (precision > DIGITS_128 && !context.wideDecimals) {
    return asText(context, `more than ${DIGITS_128} digits, which few readers of files have as a decimal: exact text`)
  }
  const bits = precision > DIGITS_128 ? 256 : 128
  const { arrow, column } = context
  const arrowType = new arrow.Decimal(scale, precision, bits)
  return shape(arrowType, new NumericColumn(arrow, arrowType, { precision, scale, bits }, column))
}

function money(context: Context): Shape {
  const { arrow, column, catalogue } = context
  const arrowType = new arrow.Decimal(catalogue.moneyDigits ?? 2, MONEY_DIGITS, 128)
  return shape(arrowType, new MoneyColumn(arrow, arrowType, 128, column))
}

function enumeration(context: Context, type: CatalogueType): Shape {
  const { arrow } = context
  const labels = arrow.vectorFromArray(type.labels, new arrow.Utf8())
  const arrowType = new arrow.Dictionary(new arrow.Utf8(), new arrow.Int32())
  return shape(arrowType, new EnumColumn(arrow, arrowType, labels, type.labels, context.column))
}

function list(context: Context, type: CatalogueType, modifier: number, dimensions: number): Shape {
  if (dimensions > 1) return asText(context, `declared with ${dimensions} dimensions: exact text`)
  const { arrow } = context
  const element = baseOf(context.catalogue, type.element, modifier)
  const known =
    element.type.kind === 'e' ? utf8(arrow, context.column) : native(context, element.type, element.modifier)
  if (known === undefined && element.type.textCast)
    return asText(context, `${type.name}: exact text of the whole array`)
  const child = known ?? utf8(arrow, context.column)
  const arrowType = new arrow.List(new arrow.Field('item', child.arrowType, true))
  return {
    ...shape(arrowType, new ListColumn(arrow, arrowType, child.builder, context.column)),
    ...(known === undefined ? { cast: 'texts' as const, note: 'elements as exact text' } : {}),
  }
}

/** The shape of a type that is read as it is, or undefined. */
function native(context: Context, type: CatalogueType, modifier: number): Shape | undefined {
  if (type.oid === NUMERIC) {
    const found = decimal(context, modifier)
    return found.cast === undefined ? found : undefined
  }
  if (type.oid === MONEY) return money(context)
  return BUILT_IN.get(type.oid)?.(context.arrow, context.column)
}

/** The type at the end of a chain of domains, with the type modifier of the base type. */
function baseOf(
  catalogue: Catalogue,
  oid: number,
  modifier: number,
): { readonly type: CatalogueType; readonly modifier: number; readonly dimensions: number } {
  let found = catalogue.types.get(oid)
  let modifierHere = modifier
  let dimensions = 0
  while (found?.kind === 'd') {
    modifierHere = found.modifier
    dimensions = found.dimensions
    found = catalogue.types.get(found.baseType)
  }
  if (found === undefined) throw new Error(`The catalogue has no type ${oid}.`)
  return { type: found, modifier: modifierHere, dimensions }
}

function shapeOf(context: Context, column: CatalogueColumn, forms: ReadForms): Shape & { textCast: boolean } {
  const base = baseOf(context.catalogue, column.type, column.modifier)
  const { type } = base
  const { textCast } = type
  if (forms.asText.has(column.name)) return { ...asText(context, 'exact text, as asked for'), textCast }
  if (forms.asBytes.has(column.name)) {
    const binary = new context.arrow.Binary()
    const note = `the bytes of its text in ${context.catalogue.serverEncoding}, as asked for`
    return { ...shape(binary, new BytesColumn(context.arrow, binary)), cast: 'bytes', note, textCast }
  }
  if (type.oid === NUMERIC) return { ...decimal(context, base.modifier), textCast }
  if (type.kind === 'e') return { ...enumeration(context, type), textCast }
  if (type.element !== 0) {
    return { ...list(context, type, base.modifier, Math.max(column.dimensions, base.dimensions)), textCast }
  }
  return { ...(native(context, type, base.modifier) ?? asText(context, `${type.name}: exact text`)), textCast }
}

function expressionOf(column: CatalogueColumn, found: Shape & { textCast: boolean }): string {
  if (found.cast === 'texts') return `${quoteIdentifier(column.name)}::pg_catalog.text[]`
  if (found.cast === 'bytes') return bytesOf(textOf(column, found.textCast))
  return found.cast === 'text' ? textOf(column, found.textCast) : quoteIdentifier(column.name)
}

function textOf(column: CatalogueColumn, textCast: boolean): string {
  const name = quoteIdentifier(column.name)
  // A cast that is a function may differ from the type's own output: inet gains its netmask, character(n) loses its
  // padding. format() always uses the type's own. IS DISTINCT FROM NULL is true for a row of NULLs too.
  if (!textCast) return `${name}::pg_catalog.text`
  return `case when ${name} is distinct from null then pg_catalog.format('%s', ${name}) end`
}

/** As the database stores them: a text of a database in SQL_ASCII may be in no encoding at all. */
function bytesOf(text: string): string {
  return `pg_catalog.convert_to(${text}, pg_catalog.getdatabaseencoding())`
}

/** The expression that gives the bytes of a column's text. */
export function bytesExpression(catalogue: Catalogue, column: CatalogueColumn): string {
  return bytesOf(textExpression(catalogue, column))
}

/** The expression that gives a column as the server's own text. */
export function textExpression(catalogue: Catalogue, column: CatalogueColumn): string {
  return textOf(column, baseOf(catalogue, column.type, column.modifier).type.textCast)
}

/** Plans the columns in the order given. */
export function planColumns(
  arrow: Arrow,
  catalogue: Catalogue,
  columns: readonly CatalogueColumn[],
  forms: ReadForms,
): ColumnPlan[] {
  return columns.map((column) => {
    const context: Context = { arrow, catalogue, column: column.name, wideDecimals: forms.wideDecimals }
    const found = shapeOf(context, column, forms)
    return {
      name: column.name,
      declared: column.declared,
      expression: expressionOf(column, found),
      arrowType: found.arrowType,
      builder: found.builder,
      note: found.note,
    }
  })
}

/** A column of text that the statement computes. */
export function textColumn(arrow: Arrow, name: string, expression: string): ColumnPlan {
  return { name, declared: 'text', expression, ...utf8(arrow, name) }
}

/**
 * SHA-256 of PostgreSQL's text of the row in UTF-8: `(1,"two words",)`. A database in SQL_ASCII has the bytes that were
 * written, which may not be UTF-8.
 */
export function rowHashExpression({ serverEncoding }: Catalogue, names: readonly string[]): string {
  const row = `row(${names.map(quoteIdentifier).join(', ')})::pg_catalog.text`
  const encoding = serverEncoding === 'SQL_ASCII' ? serverEncoding : 'UTF8'
  return `pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(${row}, '${encoding}')), 'hex')`
}
