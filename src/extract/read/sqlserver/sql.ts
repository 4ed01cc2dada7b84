/**
 * T-SQL with its values beside it, from knex to the server.
 *
 * A value is always a parameter. SQL of a caller or a plan must be one whole piece: it is scanned by the server's own
 * lexical rules (strings, both kinds of quoted names, comments that nest), so no bracket, quote, comment or semicolon
 * in it reaches beyond the brackets that it is put in.
 */

import { types } from 'node:util'
import { isAscii, type Statement } from '../../../drivers/sqlserver/bound-value.ts'
import { fill, type Lexer, malformed, scan, wholeStatement } from '../sql/lexer.ts'
import { type CompiledSql, invalid } from '../sql/selection.ts'
import type { BoundSql, BoundValue, Condition } from '../table.ts'

export function quoteIdentifier(name: string): string {
  return `[${name.replaceAll(']', ']]')}]`
}

export function quotedTable(table: { readonly schema: string; readonly name: string }): string {
  return `${quoteIdentifier(table.schema)}.${quoteIdentifier(table.name)}`
}

const HINT = 'Check the values that the query is built with.'

/** A JavaScript value as a parameter, with all its digits; a Date is its instant in UTC. */
export function boundValue(value: unknown): BoundValue {
  if (value === null) return { type: 'nvarchar', value: null }
  switch (typeof value) {
    case 'string':
      // An index of a varchar column cannot be searched for an nvarchar; ASCII text is the same in both.
      return { type: isAscii(value) ? 'varchar' : 'nvarchar', value }
    case 'bigint':
      return { type: 'bigint', value: String(value) }
    case 'boolean':
      return { type: 'bit', value: value ? '1' : '0' }
    case 'number':
      if (!Number.isFinite(value)) throw invalid(`A value is ${value}, which no column holds.`, HINT)
      return { type: Number.isSafeInteger(value) ? 'bigint' : 'float', value: String(value) }
  }
  if (types.isUint8Array(value)) return { type: 'varbinary', value: Buffer.from(value).toString('base64') }
  if (!types.isDate(value)) throw invalid(`A value is of type ${typeof value}, which no column holds.`, HINT)
  const year = value.getUTCFullYear()
  // The year of an invalid Date is NaN, which is in no range.
  if (year >= 1 && year <= 9999) return { type: 'datetime2', value: value.toISOString() }
  throw invalid('A Date is invalid or not within the years 1 to 9999.', 'Give it as text, as SQL Server writes it.')
}

/** The parameters' declarations, as sys.dm_exec_describe_first_result_set takes them. */
export function declarations(values: readonly BoundValue[]): string {
  const sized: Readonly<Record<string, string>> = {
    nvarchar: 'nvarchar(max)',
    varchar: 'varchar(max)',
    varbinary: 'varbinary(max)',
  }
  return values.map(({ type }, index) => `@p${index} ${sized[type] ?? type}`).join(', ')
}

/**
 * Puts pieces together with the SQL between them. The SQL between them, and a text among the pieces, is poolsmith's
 * own.
 */
export function sql(texts: TemplateStringsArray, ...pieces: readonly (BoundSql | string | number)[]): BoundSql {
  const values: BoundValue[] = []
  const text = texts.map((own, index) => {
    const piece = pieces[index - 1] ?? ''
    if (typeof piece !== 'object') return piece + own
    values.push(...piece.values)
    return piece.sql + own
  })
  return { sql: text.join(''), values }
}

export function joined(pieces: readonly BoundSql[], between: string): BoundSql {
  return { sql: pieces.map((piece) => piece.sql).join(between), values: pieces.flatMap((piece) => piece.values) }
}

/** Ends a statement; each condition ends with a line break, so that a comment in it ends there too. */
export function whereClause(conditions: readonly BoundSql[]): BoundSql {
  if (conditions.length === 0) return sql``
  return sql` where ${joined(
    conditions.map((condition) => sql`(${condition}\n)`),
    ' and ',
  )}`
}

/** SQL that knex has compiled, or that a caller or a plan has given, as one whole piece. */
export function whole(piece: CompiledSql | Condition): BoundSql {
  const bound =
    typeof piece === 'string'
      ? { sql: piece.replaceAll('?', '\\?'), values: [] }
      : 'values' in piece
        ? piece
        : { sql: piece.sql, values: piece.bindings.map(boundValue) }
  const trimmed = { ...bound, sql: wholeStatement(bound.sql, LEXER) }
  compiled(trimmed)
  return trimmed
}

/** For a manifest or a plan: the text alone where there are no values. */
export function shownSql(piece: BoundSql): Condition {
  return piece.values.length === 0 ? piece.sql.replaceAll('\\?', '?') : piece
}

/** Numbers the values. */
export function compiled({ sql: text, values }: BoundSql): Statement {
  return { text: fill(text, LEXER, values.length, (index) => `@p${index}`), values }
}

/** A query, cut for the statement that it becomes a part of. */
export interface Derived {
  /** Before the statement. */
  readonly before: BoundSql
  /** In its FROM clause. */
  readonly from: BoundSql
}

/**
 * A query in place of a table. T-SQL allows no WITH within brackets: there the query itself becomes the last of its own
 * common table expressions.
 */
export function derived(query: BoundSql, name: string): Derived {
  let start = -1
  let places = 0
  let first = ''
  scan(query.sql, LEXER, (token, kind, depth, at) => {
    const word = kind === 'word' ? token.toLowerCase() : ''
    if (first === '' && kind !== 'space') first = word
    if (start < 0 && kind === 'other' && token === '?') places += 1
    if (start < 0 && depth === 0 && word === 'select') start = at
    return token
  })
  if (first !== 'with') return { before: sql``, from: sql`(\n${query}\n) as ${name}` }
  if (start < 0) throw malformed('it selects nothing')
  const expressions = { sql: query.sql.slice(0, start), values: query.values.slice(0, places) }
  const last = { sql: query.sql.slice(start), values: query.values.slice(places) }
  return { before: sql`${expressions}\n, ${name} as (\n${last}\n) `, from: sql`${name}` }
}

/** Transact-SQL's lexical rules. The order counts. */
const LEXER: Lexer = {
  token: new RegExp(
    [
      String.raw`(?<space>\s+|--[^\n]*)`,
      `(?<string>'[^']*(?:''[^']*)*')`,
      `(?<quoted>"[^"]*(?:""[^"]*)*"|\\[[^\\]]*(?:\\]\\][^\\]]*)*\\])`,
      String.raw`(?<word>[\w@#$\u0080-\uffff]+)`,
      String.raw`(?<escaped>\\\?)`,
      String.raw`(?<other>[\s\S])`,
    ].join('|'),
    'y',
  ),
  quotes: `'"[`,
  // Microsoft does not say whether a carriage return alone ends a line comment.
  refuse: (token) => (/^--.*\r(?!$)/s.test(token) ? 'a comment contains a carriage return' : undefined),
}
