/**
 * PostgreSQL's SQL as text: names, and values for COPY, which takes no parameters.
 *
 * Why this is safe. A literal is always written in the form E'...', whose rules no setting changes (PostgreSQL: "String
 * Constants with C-Style Escapes"): every backslash and every quote of the value is doubled, so both occur inside the
 * literal in pairs only, and none can end it. The text is UTF-8, in which no byte of a longer character looks like a
 * quote or a backslash; text that UTF-8 cannot hold (half of a surrogate pair), or no statement can hold (NUL), is
 * refused. The literal has no type of its own, so the server gives it one by its rules for a parameter without a
 * declared type ("Type Conversion"). It stands in brackets, so nothing next to it (a prefix, a second literal) becomes
 * a part of it. The place for a value is found by the server's own lexical rules: a question mark within quotes or a
 * comment is none. `standard_conforming_strings` is on in every transaction of an extract.
 */

import { types } from 'node:util'
import { fill, type Lexer, scan, wholeStatement } from '../sql/lexer.ts'
import { type CompiledSql, invalid } from '../sql/selection.ts'

export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

export function quotedTable(table: { readonly schema: string; readonly name: string }): string {
  return `${quoteIdentifier(table.schema)}.${quoteIdentifier(table.name)}`
}

/** A value as pg would send it as a parameter, as a literal; but a Date is its instant in UTC. */
export function literal(value: unknown): string {
  const text = textOf(value)
  return text === undefined ? '(null)' : `(${quoteText(text)})`
}

const HINT = 'Check the values that the query is built with.'

/** Any text as one string constant. */
export function quoteText(text: string): string {
  if (text.includes('\0')) throw invalid('A value contains the character NUL, which PostgreSQL does not store.', HINT)
  if (!text.isWellFormed()) throw invalid('A value contains half of a surrogate pair, which is no character.', HINT)
  return `E'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`
}

function textOf(value: unknown): string | undefined {
  switch (typeof value) {
    case 'string':
      return value
    case 'number':
    case 'bigint':
    case 'boolean':
      return String(value)
    case 'object':
      break
    default:
      throw invalid(`A value is of type ${typeof value}, which no column holds.`, HINT)
  }
  if (value === null) return undefined
  if (types.isDate(value)) return instantText(value)
  if (types.isUint8Array(value)) return `\\x${Buffer.from(value).toString('hex')}`
  if (Array.isArray(value)) return arrayText(value)
  return JSON.stringify(value)
}

function instantText(value: Date): string {
  const year = value.getUTCFullYear()
  // The year of an invalid Date is NaN, which is in no range.
  if (!(year >= 1 && year <= 9999)) {
    throw invalid('A Date is invalid or not within the years 1 to 9999.', 'Give it as text, as PostgreSQL writes it.')
  }
  return value.toISOString().replace('T', ' ').replace('Z', '+00')
}

function arrayText(values: readonly unknown[]): string {
  const elements = values.map((value) => {
    if (Array.isArray(value)) return arrayText(value)
    const text = textOf(value)
    return text === undefined ? 'NULL' : `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
  })
  return `{${elements.join(',')}}`
}

/** PostgreSQL: "Lexical Structure", with standard_conforming_strings on. The order counts. */
const LEXER: Lexer = {
  token: new RegExp(
    [
      String.raw`(?<space>\s+|--[^\n\r]*)`,
      // A string that continues after a line break keeps the rules that it began with.
      String.raw`(?<escapes>[eE]'[^'\\]*(?:(?:\\[\s\S]|''|'\s*[\n\r]\s*')[^'\\]*)*')`,
      `(?<string>(?:[uU]&|[bBxXnN])?'[^']*(?:''[^']*)*')`,
      `(?<quoted>(?:[uU]&)?"[^"]*(?:""[^"]*)*")`,
      String.raw`(?<dollar>\$(?<tag>(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?)\$[\s\S]*?\$\k<tag>\$)`,
      String.raw`(?<word>[A-Za-z0-9_\u0080-\uffff][\w$\u0080-\uffff]*)`,
      String.raw`(?<escaped>\\\?)`,
      String.raw`(?<other>[\s\S])`,
    ].join('|'),
    'y',
  ),
  quotes: `'"`,
}

/** Puts the values where knex left a question mark for each. */
export function inline({ sql, bindings }: CompiledSql): string {
  const literals = bindings.map(literal)
  return fill(wholeStatement(sql, LEXER), LEXER, literals.length, (index) => literals[index] ?? '')
}

/** A piece of SQL that is to stand in brackets: one whole expression or select. */
export function fragment(sql: string): string {
  return scan(wholeStatement(sql, LEXER), LEXER, (token) => token)
}

/** Ends a statement; each condition ends with a line break, so that a comment in it ends there too. */
export function whereClause(conditions: readonly string[]): string {
  return conditions.length === 0 ? '' : ` where ${conditions.map((condition) => `(${condition}\n)`).join(' and ')}`
}
