/**
 * T-SQL with its values beside it, from what knex says to what the server is sent.
 *
 * A value is always a parameter. What a caller or a plan has written is held to being one whole piece: it is cut by
 * the server's own lexical rules (strings, both kinds of quoted names, comments that nest), so that no bracket, quote,
 * comment or semicolon in it can reach beyond the brackets that it is put in.
 */

import type { BoundSql, BoundValue, Condition } from './reader.ts'
import { type CompiledSql, invalid } from './selection.ts'
import { endOfComment, malformed } from './sql-text.ts'

/** What the server is sent: `@p0`, `@p1` and so on stand for the values. */
export interface Statement {
  readonly text: string
  readonly values: readonly BoundValue[]
}

const HINT = 'Look at the values that the query is built with.'

/** A JavaScript value as a parameter that loses nothing of it; a Date is its instant in UTC. */
export function boundValue(value: unknown): BoundValue {
  if (value === null) return { type: 'nvarchar', value: null }
  switch (typeof value) {
    case 'string':
      return { type: 'nvarchar', value }
    case 'bigint':
      return { type: 'bigint', value: String(value) }
    case 'boolean':
      return { type: 'bit', value: value ? '1' : '0' }
    case 'number':
      if (!Number.isFinite(value)) throw invalid(`A value is ${value}, which no column holds.`, HINT)
      return { type: Number.isSafeInteger(value) ? 'bigint' : 'float', value: String(value) }
  }
  if (value instanceof Uint8Array) return { type: 'varbinary', value: Buffer.from(value).toString('base64') }
  if (!(value instanceof Date)) throw invalid(`A value is of type ${typeof value}, which no column holds.`, HINT)
  const year = value.getUTCFullYear()
  // Not a number is neither.
  if (year >= 1 && year <= 9999) return { type: 'datetime2', value: value.toISOString() }
  throw invalid('A Date is invalid or not within the years 1 to 9999.', 'Give it as text, as SQL Server writes it.')
}

/** What sp_executesql and sys.dm_exec_describe_first_result_set are told of the parameters. */
export function declarations(values: readonly BoundValue[]): string {
  const sized: Readonly<Record<string, string>> = { nvarchar: 'nvarchar(max)', varbinary: 'varbinary(max)' }
  return values.map(({ type }, index) => `@p${index} ${sized[type] ?? type}`).join(', ')
}

/** Puts pieces together with the SQL between them, which is poolsmith's own; text among the pieces is so, too. */
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

/** ` where (...) and (...)`, or nothing; each on a line of its own, so that a comment in one ends with it. */
export function whereClause(conditions: readonly BoundSql[]): BoundSql {
  if (conditions.length === 0) return sql``
  return sql` where ${joined(
    conditions.map((condition) => sql`(${condition}\n)`),
    ' and ',
  )}`
}

/** What knex has compiled, or a caller or a plan has said, as one whole piece. */
export function whole(piece: CompiledSql | Condition): BoundSql {
  const bound =
    typeof piece === 'string'
      ? { sql: piece.replaceAll('?', '\\?'), values: [] }
      : 'values' in piece
        ? piece
        : { sql: piece.sql, values: piece.bindings.map(boundValue) }
  // A last semicolon is a habit, not a second statement.
  const trimmed = { ...bound, sql: bound.sql.replace(/[\s;]+$/, '') }
  compiled(trimmed)
  return trimmed
}

/** For a manifest or a plan: the text alone where there are no values. */
export function shownSql(piece: BoundSql): Condition {
  return piece.values.length === 0 ? piece.sql.replaceAll('\\?', '?') : piece
}

/** Numbers the values. */
export function compiled(piece: BoundSql): Statement {
  let used = 0
  const text = scan(piece.sql, (token, kind) => {
    if (kind === 'other' && token === '?') {
      used += 1
      return `@p${used - 1}`
    }
    // knex's own way to write a question mark, within quotes too.
    return kind === 'space' ? token : token.replaceAll('\\?', '?')
  })
  if (used === piece.values.length) return { text, values: piece.values }
  throw invalid(
    `The query has ${used} places for ${piece.values.length} values.`,
    'A question mark that is none of them is written \\\\?.',
  )
}

/** A query as what stands before a statement and what stands in its FROM. */
export interface Derived {
  readonly before: BoundSql
  readonly from: BoundSql
}

/**
 * A query in the place of a table. T-SQL takes no WITH within brackets: there the query itself becomes the last of
 * its own common table expressions.
 */
export function derived(query: BoundSql, name: string): Derived {
  let start = -1
  let places = 0
  let first = ''
  scan(query.sql, (token, kind, depth, at) => {
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
const TOKEN = new RegExp(
  [
    String.raw`(?<space>\s+|--[^\n]*)`,
    `(?<string>'[^']*(?:''[^']*)*')`,
    `(?<quoted>"[^"]*(?:""[^"]*)*"|\\[[^\\]]*(?:\\]\\][^\\]]*)*\\])`,
    String.raw`(?<word>[\w@#$\u0080-\uffff]+)`,
    String.raw`(?<escaped>\\\?)`,
    String.raw`(?<other>[\s\S])`,
  ].join('|'),
  'y',
)

type Take = (token: string, kind: string, depth: number, at: number) => string

function scan(source: string, take: Take): string {
  let depth = 0
  let text = ''
  let at = 0
  while (at < source.length) {
    if (source.startsWith('/*', at)) {
      const end = endOfComment(source, at)
      text += source.slice(at, end)
      at = end
      continue
    }
    TOKEN.lastIndex = at
    const match = TOKEN.exec(source)
    const token = match?.[0] ?? ''
    const kind = Object.entries(match?.groups ?? {}).find(([, found]) => found !== undefined)?.[0] ?? ''
    if (kind === 'other') {
      if (token === "'" || token === '"' || token === '[') throw malformed('a quote is not closed')
      if (token === ';') throw malformed('it is more than one statement')
      if (token === '(') depth += 1
      if (token === ')') depth -= 1
      if (depth < 0) throw malformed('a bracket is closed that was not opened')
    }
    // Nobody says whether a carriage return alone ends such a comment.
    if (token.startsWith('--') && /\r(?!$)/.test(token)) throw malformed('a comment has a carriage return within')
    text += take(token, kind, depth, at)
    at += token.length
  }
  if (depth !== 0) throw malformed('a bracket is not closed')
  return text
}
