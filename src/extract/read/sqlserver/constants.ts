/** Values of a column in conditions: bound as text, which the server converts to the column's own type. */

import { types } from 'node:util'
import type { BoundSql, MarkValue } from '../table.ts'
import type { TypedMark } from '../watermark.ts'
import type { CatalogueColumn } from './catalogue.ts'
import { quoteIdentifier, sql } from './sql.ts'

const INTEGERS = new Set(['tinyint', 'smallint', 'int', 'bigint'])
const DECIMALS = new Set(['decimal', 'numeric', 'money', 'smallmoney'])
const TIMES = new Set(['date', 'smalldatetime', 'datetime', 'datetime2', 'datetimeoffset'])
const TEXTS = new Set(['char', 'varchar', 'nchar', 'nvarchar', 'sysname'])
const OTHERS = new Set(['uniqueidentifier', 'timestamp'])
const ORDERED_TOO = new Set(['real', 'float', 'time', 'binary', 'varbinary'])

/** Whether its values rise with time, or can. */
export function canMark({ type }: CatalogueColumn): boolean {
  return [INTEGERS, DECIMALS, TIMES, TEXTS, OTHERS].some((kinds) => kinds.has(type))
}

export function isText({ type }: CatalogueColumn): boolean {
  return TEXTS.has(type)
}

/** Whether rows can be divided by ranges of it. */
export function canDivide(column: CatalogueColumn): boolean {
  return canMark(column) || ORDERED_TOO.has(column.type)
}

/**
 * The value as the column's type has it. A style is named where the conversion would depend on the session's language
 * (CAST and CONVERT: 23 and 121 are ODBC's canonical forms, 1 is hexadecimal after 0x).
 *
 * @param call `try_convert` gives NULL for a text that is no value of the type
 */
export function constant(column: CatalogueColumn, text: string, call: 'convert' | 'try_convert' = 'convert'): BoundSql {
  const value: BoundSql = { sql: '?', values: [{ type: 'nvarchar', value: text }] }
  const made = (type: string, style?: number): BoundSql =>
    sql`${call}(${type}, ${value}${style === undefined ? '' : `, ${style}`})`
  const { type, length } = column
  switch (type) {
    case 'decimal':
    case 'numeric':
      // As many digits as the text has, so that none is rounded away.
      return made(`decimal(38, ${text.split('.')[1]?.length ?? 0})`)
    case 'smallmoney':
      return made('money')
    case 'date':
      return made('date', 23)
    case 'smalldatetime':
    case 'datetime':
      return made(type, 121)
    case 'time':
    case 'datetime2':
    case 'datetimeoffset':
      return made(`${type}(7)`, 121)
    case 'timestamp':
      return made('binary(8)', 1)
    case 'binary':
    case 'varbinary':
      return made(`varbinary(${length < 0 ? 'max' : 8000})`, 1)
    case 'char':
    case 'varchar':
      // By the column's own collation, whose code page has the characters and whose rules order them.
      if (column.collation === undefined || !/^\w+$/.test(column.collation)) return value
      return sql`${call}(varchar(${length < 0 ? 'max' : 8000}), ${value} collate ${column.collation})`
    case 'nchar':
    case 'nvarchar':
    case 'sysname':
      return value
    default:
      return made(type)
  }
}

/** A caller's value, in the form that {@link constant} takes; undefined for what is no value of the type. */
export function markText(column: CatalogueColumn, value: MarkValue): TypedMark | undefined {
  const { type } = column
  if (TIMES.has(type)) {
    if (types.isDate(value)) return Number.isFinite(value.getTime()) ? momentText(type, value.toISOString()) : undefined
    return typeof value === 'string' ? momentText(type, value.trim()) : undefined
  }
  const text = types.isDate(value) ? undefined : plainText(type, value)
  return text === undefined ? undefined : { text, isCut: false }
}

function plainText(type: string, value: string | number | bigint): string | undefined {
  const text = String(value).trim()
  const matched = (pattern: RegExp): string | undefined => (pattern.test(text) ? text : undefined)
  if (INTEGERS.has(type)) return matched(/^[+-]?\d+$/)
  if (type === 'decimal' || type === 'numeric') return matched(/^[+-]?\d+(\.\d+)?$/)
  if (DECIMALS.has(type)) return matched(/^[+-]?\d+(\.\d{1,4})?$/)
  if (type === 'timestamp') return rowVersionText(text)
  if (typeof value !== 'string') return undefined
  return TEXTS.has(type) ? value : text
}

const MOMENT = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?::(\d\d)(?:\.(\d{1,7}))?)?)?\s*(Z|[+-]\d\d:\d\d)?$/

function momentText(type: string, given: string): TypedMark | undefined {
  const match = MOMENT.exec(given)
  if (match === null) return undefined
  const [, day, minute = '00:00', second = '00', digits = '', zone] = match
  // A type without an offset takes none but UTC's, in which a Date is written.
  if (type !== 'datetimeoffset' && zone !== undefined && zone !== 'Z') return undefined
  const fraction = digits.padEnd(7, '0')
  const full = `${day} ${minute}:${second}.${fraction}`
  switch (type) {
    case 'date':
      return { text: `${day}`, isCut: full !== `${day} 00:00:00.0000000` }
    case 'smalldatetime':
      return { text: `${day} ${minute}:00`, isCut: full !== `${day} ${minute}:00.0000000` }
    case 'datetime': {
      // Milliseconds end in 0, 3 or 7.
      const last = Number(fraction[2])
      const millis = `${fraction.slice(0, 2)}${last < 3 ? 0 : last < 7 ? 3 : 7}`
      return { text: `${day} ${minute}:${second}.${millis}`, isCut: fraction !== `${millis}0000` }
    }
    case 'datetime2':
      return { text: full, isCut: false }
    default:
      return { text: `${full} ${zone === undefined || zone === 'Z' ? '+00:00' : zone}`, isCut: false }
  }
}

function rowVersionText(text: string): string | undefined {
  if (/^0x[\da-f]{16}$/i.test(text)) return `0x${text.slice(2).toUpperCase()}`
  if (!/^\d+$/.test(text) || BigInt(text) > 0xffff_ffff_ffff_ffffn) return undefined
  return `0x${BigInt(text).toString(16).padStart(16, '0').toUpperCase()}`
}

/** The first digits of the SHA-256 of the columns' values, in hexadecimal: equal for rows that are equal in them. */
export function rowHash(columns: readonly CatalogueColumn[]): string {
  // CONCAT takes 254 values at most. An NVARCHAR(MAX) among them lets its result have any length.
  const groups = Array.from({ length: Math.ceil(columns.length / 200) }, (_, index) =>
    columns.slice(index * 200, index * 200 + 200).map(hashed),
  )
  const texts = groups.map((group) => `concat(cast('' as nvarchar(max)), ${group.join(', ')})`)
  return `left(convert(char(64), hashbytes('SHA2_256', concat(cast('' as nvarchar(max)), ${texts.join(', ')})), 2), 16)`
}

/** Named, because values of different collations cannot be concatenated. */
const BINARY = 'Latin1_General_100_BIN2'

/** The length before the text keeps rows apart whose texts are the same when they are concatenated. */
function hashed(column: CatalogueColumn): string {
  const name = quoteIdentifier(column.name)
  const text = `convert(nvarchar(max), ${textOf(column, name)}) collate ${BINARY}`
  return `case when ${name} is null then '-' else concat(cast(len(concat(${text}, '.')) as varchar(20)), ':', ${text}) end`
}

function textOf({ type, isClr }: CatalogueColumn, name: string): string {
  if (isClr || type === 'image') return `convert(varchar(max), convert(varbinary(max), ${name}), 1)`
  if (type === 'binary' || type === 'varbinary') return `convert(varchar(max), ${name}, 1)`
  if (type === 'timestamp') return `convert(varchar(18), cast(${name} as binary(8)), 1)`
  if (type === 'sql_variant') return `convert(nvarchar(4000), ${name})`
  if (type === 'money' || type === 'smallmoney') return `convert(varchar(30), ${name}, 2)`
  if (type === 'float' || type === 'real') return `convert(varchar(40), ${name}, 3)`
  if (type === 'time' || TIMES.has(type)) return `convert(varchar(40), ${name}, 121)`
  return name
}
