/** How each SQL Server type is read: the expression in the select list, and the Arrow column (docs/types.md). */

import type { DataType } from 'apache-arrow'
import type { ColumnMetadata } from '../../../drivers/sqlserver/statement.ts'
import { PoolsmithError } from '../../../errors.ts'
import { BytesColumn } from '../columns/bytes.ts'
import type { Arrow, ColumnBuilder } from '../columns/column.ts'
import { BoolColumn, Float32Column, Float64Column, Int16Column, Int32Column } from '../columns/fixed.ts'
import { AsTextColumn, CodePageColumn, GuidColumn, Utf16Column } from '../columns/tds-bytes.ts'
import {
  BigIntColumn,
  DateTime2Column,
  DateTimeColumn,
  DateTimeOffsetColumn,
  DayColumn,
  TdsDecimalColumn,
  TdsMoneyColumn,
  TimeColumn,
  TinyIntColumn,
} from '../columns/tds-fixed.ts'
import type { ReadForms } from '../read-forms.ts'
import type { CatalogueColumn } from './catalogue.ts'
import { quoteIdentifier } from './sql.ts'
import { decoderFor, READABLE_CODE_PAGES, valueText } from './value-text.ts'

/** One column of the statement, and the builder of its values. */
export interface ColumnPlan {
  readonly name: string
  readonly declared: string
  readonly arrowType: DataType
  /** Made when the answer says in which form the values are sent. */
  readonly builder: (sent: ColumnMetadata) => ColumnBuilder
  readonly note?: string
}

interface Shape {
  readonly arrowType: DataType
  readonly build: (sent: ColumnMetadata) => ColumnBuilder
  /** The types that the server may send, by tedious' names. */
  readonly sent: readonly string[]
  readonly note?: string
}

type Simple = (arrow: Arrow, column: CatalogueColumn) => Shape

const INTEGERS = ['TinyInt', 'SmallInt', 'Int', 'BigInt', 'IntN']
const WIDE_TEXT = ['NVarChar', 'NChar', 'NText', 'Xml']
const NARROW_TEXT = ['VarChar', 'Char', 'Text']
const BYTES = ['VarBinary', 'Binary', 'Image', 'UDT']

const textOf: Simple = (arrow) => ({
  arrowType: new arrow.Utf8(),
  sent: [...WIDE_TEXT, ...NARROW_TEXT],
  build: (sent) => {
    if (WIDE_TEXT.includes(sent.type.name)) return new Utf16Column(arrow)
    const decoder = decoderFor(sent)
    return decoder.encoding === 'utf-8' ? new BytesColumn(arrow, new arrow.Utf8()) : new CodePageColumn(arrow, decoder)
  },
})

const bytes: Simple = (arrow) => ({
  arrowType: new arrow.Binary(),
  sent: BYTES,
  build: () => new BytesColumn(arrow, new arrow.Binary()),
})

const noted =
  (simple: Simple, note: string): Simple =>
  (arrow, column) => ({ ...simple(arrow, column), note })

const decimal: Simple = (arrow, { precision, scale }) => {
  const arrowType = new arrow.Decimal(scale, precision, 128)
  return {
    arrowType,
    sent: ['DecimalN', 'NumericN'],
    build: (sent) => {
      if (sent.scale !== scale) throw changed(sent.colName, `decimals of the scale ${sent.scale} instead of ${scale}`)
      return new TdsDecimalColumn(arrow, arrowType, 128, sent.colName)
    },
  }
}

const money =
  (precision: number): Simple =>
  (arrow) => {
    const arrowType = new arrow.Decimal(4, precision, 128)
    const build = (sent: ColumnMetadata): ColumnBuilder => new TdsMoneyColumn(arrow, arrowType, 128, sent.colName)
    return { arrowType, sent: ['Money', 'SmallMoney', 'MoneyN'], build }
  }

const SEVENTH = 'microseconds: the seventh digit is cut off; asText keeps it'
const OFFSET = 'the moment in UTC; asText keeps the offset'
const LEGACY_MOMENT: Simple = (arrow) => ({
  arrowType: new arrow.TimestampMicrosecond(),
  sent: ['DateTime', 'DateTimeN', 'SmallDateTime'],
  build: () => new DateTimeColumn(arrow),
})

const SHAPES: Readonly<Record<string, Simple>> = {
  bit: (arrow) => ({ arrowType: new arrow.Bool(), sent: ['Bit', 'BitN'], build: () => new BoolColumn(arrow) }),
  tinyint: (arrow) => ({ arrowType: new arrow.Int16(), sent: INTEGERS, build: () => new TinyIntColumn(arrow) }),
  smallint: (arrow) => ({ arrowType: new arrow.Int16(), sent: INTEGERS, build: () => new Int16Column(arrow, true) }),
  int: (arrow) => ({ arrowType: new arrow.Int32(), sent: INTEGERS, build: () => new Int32Column(arrow, true) }),
  bigint: (arrow) => ({
    arrowType: new arrow.Int64(),
    sent: INTEGERS,
    build: () => new BigIntColumn(arrow, new arrow.Int64()),
  }),
  real: (arrow) => ({
    arrowType: new arrow.Float32(),
    sent: ['Real', 'FloatN'],
    build: () => new Float32Column(arrow, true),
  }),
  float: (arrow) => ({
    arrowType: new arrow.Float64(),
    sent: ['Float', 'FloatN'],
    build: () => new Float64Column(arrow, true),
  }),
  decimal,
  numeric: decimal,
  money: money(19),
  smallmoney: money(10),
  date: (arrow) => ({ arrowType: new arrow.DateDay(), sent: ['Date'], build: () => new DayColumn(arrow) }),
  time: (arrow, { scale }) => ({
    arrowType: new arrow.TimeMicrosecond(),
    sent: ['Time'],
    build: (sent) => new TimeColumn(arrow, sent.scale ?? scale),
    ...(scale === 7 ? { note: SEVENTH } : {}),
  }),
  datetime2: (arrow, { scale }) => ({
    arrowType: new arrow.TimestampMicrosecond(),
    sent: ['DateTime2'],
    build: (sent) => new DateTime2Column(arrow, sent.scale ?? scale),
    ...(scale === 7 ? { note: SEVENTH } : {}),
  }),
  datetimeoffset: (arrow, { scale }) => ({
    arrowType: new arrow.TimestampMicrosecond('UTC'),
    sent: ['DateTimeOffset'],
    build: (sent) => new DateTimeOffsetColumn(arrow, sent.scale ?? scale),
    note: scale === 7 ? `${OFFSET}; ${SEVENTH}` : OFFSET,
  }),
  datetime: LEGACY_MOMENT,
  smalldatetime: LEGACY_MOMENT,
  uniqueidentifier: (arrow) => ({
    arrowType: new arrow.Utf8(),
    sent: ['UniqueIdentifier'],
    build: () => new GuidColumn(arrow),
  }),
  char: textOf,
  varchar: textOf,
  nchar: textOf,
  nvarchar: textOf,
  text: textOf,
  ntext: textOf,
  xml: noted(textOf, 'xml: exact text'),
  binary: bytes,
  varbinary: bytes,
  image: bytes,
  timestamp: noted(bytes, 'rowversion: its eight bytes'),
  sql_variant: (arrow) => ({
    arrowType: new arrow.Utf8(),
    sent: ['Variant'],
    build: (sent) => new AsTextColumn(arrow, valueText(sent).text),
    note: 'sql_variant: exact text; the type of each value is left out',
  }),
  hierarchyid: noted(textOf, 'hierarchyid: its path as text'),
  geometry: noted(bytes, 'geometry: as the server stores it (MS-SSCLRT); asText gives well-known text'),
  geography: noted(bytes, 'geography: as the server stores it (MS-SSCLRT); asText gives well-known text'),
}

/** CLR types whose ToString gives their text. */
const SPATIAL = new Set(['geometry', 'geography'])
const ASKED_AS_BYTES = new Set(['timestamp'])

/** The bytes of the stored value. text and ntext are converted to no bytes themselves. */
export function bytesExpression({ name, type }: CatalogueColumn): string {
  const inner = { text: 'varchar(max)', ntext: 'nvarchar(max)' }[type]
  const value = inner === undefined ? quoteIdentifier(name) : `cast(${quoteIdentifier(name)} as ${inner})`
  return `cast(${value} as varbinary(max))`
}

/** The expression of a column in the select list. */
export function selectExpression(column: CatalogueColumn, forceText: boolean): string {
  const name = quoteIdentifier(column.name)
  const { type } = column
  if (type === 'hierarchyid' || (forceText && SPATIAL.has(type))) return `${name}.ToString()`
  if (ASKED_AS_BYTES.has(type)) return `cast(${name} as binary(8))`
  if (type === 'sql_variant') {
    // Text of a code page would have to be decoded by the collation of each value.
    return (
      `case when sql_variant_property(${name}, 'BaseType') in ('varchar', 'char') ` +
      `then cast(cast(${name} as nvarchar(4000)) as sql_variant) else ${name} end`
    )
  }
  if (type === 'char' || type === 'varchar' || type === 'text') {
    if (READABLE_CODE_PAGES.has(column.codePage ?? 0)) return name
    return `cast(${name} as nvarchar(${type !== 'text' && column.length > 0 && column.length <= 4000 ? column.length : 'max'}))`
  }
  if (SHAPES[type] !== undefined || column.isClr) return name
  return `cast(${name} as nvarchar(max))`
}

function shapeOf(arrow: Arrow, column: CatalogueColumn, { asText, asBytes }: ReadForms): Shape {
  if (asBytes.has(column.name)) return noted(bytes, 'its bytes, as asked for')(arrow, column)
  if (asText.has(column.name)) {
    return {
      arrowType: new arrow.Utf8(),
      sent: [],
      build: (sent) => new AsTextColumn(arrow, valueText(sent).text),
      note: 'exact text, as asked for',
    }
  }
  const known = SHAPES[column.type]
  if (known !== undefined) return known(arrow, column)
  if (column.isClr) return noted(bytes, `${column.type}: as the server stores it`)(arrow, column)
  return noted(textOf, `${column.type}: the server's text`)(arrow, column)
}

/** Plans the columns in the order given. */
export function planColumns(arrow: Arrow, columns: readonly CatalogueColumn[], forms: ReadForms): ColumnPlan[] {
  return columns.map((column) => {
    const shape = shapeOf(arrow, column, forms)
    return {
      name: column.name,
      declared: column.declared,
      arrowType: shape.arrowType,
      builder: (sent) => {
        if (shape.sent.length > 0 && !shape.sent.includes(sent.type.name)) {
          throw changed(column.name, `${sent.type.name} where the catalogue has ${column.declared}`)
        }
        return shape.build(sent)
      },
      note: shape.note,
    }
  })
}

function changed(column: string, what: string): PoolsmithError {
  return new PoolsmithError(`The server sends column ${JSON.stringify(column)} as ${what}.`, {
    code: 'TABLE_CHANGED',
    phase: 'query',
    hint: 'The table was altered just now; run again with the table as it is now.',
    transient: true,
    details: { column },
  })
}
