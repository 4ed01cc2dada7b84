/**
 * Values in the text of a statement, for COPY, which takes no parameters.
 *
 * Why this is safe. A literal is always written in the form E'...', whose rules no setting changes (PostgreSQL:
 * "String Constants with C-Style Escapes"): every backslash and every quote of the value is doubled, so that inside
 * the literal both come in pairs only, and none can end it. The text is UTF-8, in which no byte of a longer character
 * looks like a quote or a backslash; what UTF-8 cannot say (half of a surrogate pair) and what no statement can hold
 * (NUL) is refused. The literal has no type of its own, so that the server gives it one by the rules that it has for a
 * parameter of no declared type ("Type Conversion"), and it stands in brackets, so that nothing next to it (a prefix,
 * a second literal) becomes a part of it. Where a value belongs is found by the server's own lexical rules: a question
 * mark within quotes or a comment is none. `standard_conforming_strings` is on in every transaction of an extract.
 */

import type { CompiledSql } from './selection.ts'
import { invalid } from './selection.ts'
import { endOfComment, malformed } from './sql-text.ts'

/** A value as pg would send it as a parameter, as a literal; but a Date is its instant in UTC. */
export function literal(value: unknown): string {
  const text = textOf(value)
  return text === undefined ? '(null)' : `(${quoteText(text)})`
}

/** Any text as one string constant. */
export function quoteText(text: string): string {
  if (text.includes('\0')) throw invalid('A value holds the character NUL, which PostgreSQL does not store.', HINT)
  if (!text.isWellFormed()) throw invalid('A value holds half of a surrogate pair, which is no character.', HINT)
  return `E'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`
}

const HINT = 'Look at the values that the query is built with.'

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
  if (value instanceof Date) return instantText(value)
  if (value instanceof Uint8Array) return `\\x${Buffer.from(value).toString('hex')}`
  if (Array.isArray(value)) return arrayText(value)
  return JSON.stringify(value)
}

function instantText(value: Date): string {
  const year = value.getUTCFullYear()
  // Not a number is neither.
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
const TOKEN = new RegExp(
  [
    String.raw`(?<space>\s+|--[^\n\r]*)`,
    // A string that goes on after a line break goes on under the rules that it began with.
    String.raw`(?<escapes>[eE]'[^'\\]*(?:(?:\\[\s\S]|''|'\s*[\n\r]\s*')[^'\\]*)*')`,
    `(?<string>(?:[uU]&|[bBxXnN])?'[^']*(?:''[^']*)*')`,
    `(?<quoted>(?:[uU]&)?"[^"]*(?:""[^"]*)*")`,
    String.raw`(?<dollar>\$(?<tag>(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?)\$[\s\S]*?\$\k<tag>\$)`,
    String.raw`(?<word>[A-Za-z0-9_\u0080-\uffff][\w$\u0080-\uffff]*)`,
    String.raw`(?<escaped>\\\?)`,
    String.raw`(?<other>[\s\S])`,
  ].join('|'),
  'y',
)

/** Puts the values where knex left a question mark for each. */
export function inline({ sql, bindings }: CompiledSql): string {
  const literals = bindings.map(literal)
  let used = 0
  const text = scan(sql, (token, kind) => {
    if (kind === 'other' && token === '?') {
      used += 1
      return literals[used - 1] ?? ''
    }
    // knex's own way to write a question mark, within quotes too.
    return kind === 'space' ? token : token.replaceAll('\\?', '?')
  })
  if (used !== literals.length) {
    throw invalid(
      `The query has ${used} places for ${literals.length} values.`,
      'A question mark that is none of them is written \\\\?.',
    )
  }
  return text
}

/** A piece of SQL that is to stand in brackets: whole, and nothing after it. */
export function fragment(sql: string): string {
  return scan(sql, (token) => token)
}

function scan(sql: string, take: (token: string, kind: string) => string): string {
  let depth = 0
  let text = ''
  let at = 0
  // A last semicolon is a habit, not a second statement.
  const source = sql.replace(/[\s;]+$/, '')
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
    const kind = Object.entries(match?.groups ?? {}).find(([name, found]) => name !== 'tag' && found !== undefined)?.[0]
    if (kind === 'other') {
      if (token === "'" || token === '"') throw malformed('a quote is not closed')
      if (token === ';') throw malformed('it is more than one statement')
      if (token === '(') depth += 1
      if (token === ')') depth -= 1
      if (depth < 0) throw malformed('a bracket is closed that was not opened')
    }
    text += take(token, kind ?? '')
    at += token.length
  }
  if (depth !== 0) throw malformed('a bracket is not closed')
  return text
}
