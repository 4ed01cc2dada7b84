/** The Parquet column of each Arrow column (LogicalTypes.md). */

import type { DataType, Field, Schema } from 'apache-arrow'
import type { Arrow } from '../../read/columns/column.ts'
import type { ThriftWriter } from './thrift.ts'

/** parquet.thrift, Type. */
export const PHYSICAL = { BOOLEAN: 0, INT32: 1, INT64: 2, FLOAT: 4, DOUBLE: 5, BYTE_ARRAY: 6, FIXED: 7 } as const
export type Physical = (typeof PHYSICAL)[keyof typeof PHYSICAL]

/** parquet.thrift, ConvertedType, for readers that are older than the logical types. */
const CONVERTED = { UTF8: 0, LIST: 3, DECIMAL: 5, DATE: 6, TIME_MICROS: 8, TIMESTAMP_MICROS: 10, INT_16: 16 } as const
/** parquet.thrift, LogicalType: the members of the union. */
const LOGICAL = { STRING: 1, LIST: 3, DECIMAL: 5, DATE: 6, TIME: 7, TIMESTAMP: 8, INTEGER: 10 } as const
const MICROS = 2
const OPTIONAL = 1
const REPEATED = 2

/** How values are laid out in Arrow, by which they are encoded. */
export type Layout = 'int16' | 'words' | 'float' | 'double' | 'bool' | 'bytes' | 'dictionary' | 'decimal'

export interface LeafType {
  readonly physical: Physical
  readonly layout: Layout
  /** Bytes of a FIXED value. */
  readonly length?: number
  /** 32-bit words of a value in Arrow, and how many of them (the low ones) Parquet takes. */
  readonly words?: { readonly stride: number; readonly take: number }
  /** Whether the bytes of a value are text in UTF-8. */
  readonly isText?: boolean
  readonly annotate?: (writer: ThriftWriter) => void
}

/** One leaf of the schema: a column, or the elements of a list. */
export interface Leaf {
  readonly path: readonly string[]
  readonly isList: boolean
  readonly type: LeafType
}

const STRING = (writer: ThriftWriter): void => {
  writer.i32(6, CONVERTED.UTF8)
  writer.struct(10, () => writer.struct(LOGICAL.STRING, () => undefined))
}

function decimalType(arrow: DataType & { precision: number; scale: number; bitWidth: number }): LeafType {
  const { precision, scale } = arrow
  const annotate = (writer: ThriftWriter): void => {
    writer.i32(6, CONVERTED.DECIMAL)
    writer.i32(7, scale)
    writer.i32(8, precision)
    writer.struct(10, () =>
      writer.struct(LOGICAL.DECIMAL, () => {
        writer.i32(1, scale)
        writer.i32(2, precision)
      }),
    )
  }
  const stride = arrow.bitWidth / 32
  if (precision <= 9) return { physical: PHYSICAL.INT32, layout: 'words', words: { stride, take: 1 }, annotate }
  if (precision <= 18) return { physical: PHYSICAL.INT64, layout: 'words', words: { stride, take: 2 }, annotate }
  // The fewest bytes that hold 10^precision and a sign.
  const length = Math.ceil((precision * Math.log2(10) + 1) / 8)
  return { physical: PHYSICAL.FIXED, layout: 'decimal', length, words: { stride, take: stride }, annotate }
}

function temporal(logical: number, converted: number | undefined, utc: boolean): (writer: ThriftWriter) => void {
  return (writer) => {
    if (converted !== undefined) writer.i32(6, converted)
    writer.struct(10, () =>
      writer.struct(logical, () => {
        writer.bool(1, utc)
        writer.struct(2, () => writer.struct(MICROS, () => undefined))
      }),
    )
  }
}

const ONE = { stride: 1, take: 1 }
const TWO = { stride: 2, take: 2 }

export function leafType(arrow: Arrow, type: DataType): LeafType {
  const { DataType: Is } = arrow
  if (Is.isInt(type) && type.bitWidth === 16) {
    const annotate = (writer: ThriftWriter): void => {
      writer.i32(6, CONVERTED.INT_16)
      writer.struct(10, () =>
        writer.struct(LOGICAL.INTEGER, () => {
          writer.i8(1, 16)
          writer.bool(2, true)
        }),
      )
    }
    return { physical: PHYSICAL.INT32, layout: 'int16', annotate }
  }
  if (Is.isInt(type) && type.bitWidth === 32) return { physical: PHYSICAL.INT32, layout: 'words', words: ONE }
  if (Is.isInt(type) && type.bitWidth === 64) return { physical: PHYSICAL.INT64, layout: 'words', words: TWO }
  if (Is.isFloat(type)) {
    const double = type.precision === arrow.Precision.DOUBLE
    return double ? { physical: PHYSICAL.DOUBLE, layout: 'double' } : { physical: PHYSICAL.FLOAT, layout: 'float' }
  }
  if (Is.isBool(type)) return { physical: PHYSICAL.BOOLEAN, layout: 'bool' }
  if (Is.isUtf8(type)) return { physical: PHYSICAL.BYTE_ARRAY, layout: 'bytes', isText: true, annotate: STRING }
  if (Is.isBinary(type)) return { physical: PHYSICAL.BYTE_ARRAY, layout: 'bytes' }
  if (Is.isDictionary(type)) return { physical: PHYSICAL.BYTE_ARRAY, layout: 'dictionary', annotate: STRING }
  if (Is.isDecimal(type)) return decimalType(type)
  if (Is.isDate(type)) {
    const annotate = (writer: ThriftWriter): void => {
      writer.i32(6, CONVERTED.DATE)
      writer.struct(10, () => writer.struct(LOGICAL.DATE, () => undefined))
    }
    return { physical: PHYSICAL.INT32, layout: 'words', words: ONE, annotate }
  }
  if (Is.isTime(type)) {
    // There is no converted type for it: that one means a time in UTC.
    const annotate = temporal(LOGICAL.TIME, undefined, false)
    return { physical: PHYSICAL.INT64, layout: 'words', words: TWO, annotate }
  }
  if (Is.isTimestamp(type)) {
    const utc = type.timezone !== null && type.timezone !== undefined
    const annotate = temporal(LOGICAL.TIMESTAMP, utc ? CONVERTED.TIMESTAMP_MICROS : undefined, utc)
    return { physical: PHYSICAL.INT64, layout: 'words', words: TWO, annotate }
  }
  throw new TypeError(`The Arrow type ${String(type)} cannot be written to Parquet.`)
}

export function leavesOf(arrow: Arrow, schema: Schema): Leaf[] {
  return schema.fields.map((field) => {
    const element = elementOf(arrow, field)
    return element === undefined
      ? { path: [field.name], isList: false, type: leafType(arrow, field.type) }
      : { path: [field.name, 'list', 'element'], isList: true, type: leafType(arrow, element.type) }
  })
}

function elementOf(arrow: Arrow, field: Field): Field | undefined {
  return arrow.DataType.isList(field.type) ? field.type.children[0] : undefined
}

/** Writes the schema, flattened depth first, as field 2 of FileMetaData. */
export function writeSchema(writer: ThriftWriter, leaves: readonly Leaf[]): void {
  const elements: (() => void)[] = [
    () => {
      writer.text(4, 'schema')
      writer.i32(5, leaves.length)
    },
  ]
  const leaf = (name: string, type: LeafType) => (): void => {
    writer.i32(1, type.physical)
    if (type.length !== undefined) writer.i32(2, type.length)
    writer.i32(3, OPTIONAL)
    writer.text(4, name)
    type.annotate?.(writer)
  }
  for (const { path, isList, type } of leaves) {
    const name = path[0] as string
    if (!isList) {
      elements.push(leaf(name, type))
      continue
    }
    elements.push(
      () => {
        writer.i32(3, OPTIONAL)
        writer.text(4, name)
        writer.i32(5, 1)
        writer.i32(6, CONVERTED.LIST)
        writer.struct(10, () => writer.struct(LOGICAL.LIST, () => undefined))
      },
      () => {
        writer.i32(3, REPEATED)
        writer.text(4, 'list')
        writer.i32(5, 1)
      },
      leaf('element', type),
    )
  }
  writer.structList(2, elements, (element) => element())
}
