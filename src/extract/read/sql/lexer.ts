/** Walks over SQL by the lexical rules of a database, and checks that it is one whole piece. */

import { invalid } from './selection.ts'

/** A database's lexical rules. Comments of the form slash-star nest in all of them. */
export interface Lexer {
  /**
   * Sticky, with one named group for each kind of token; the order counts. `space` is white space and comments, `other`
   * is a single character that begins no other token, and a group `tag` is no kind.
   */
  readonly token: RegExp
  /** Characters that open a quote: where one is `other`, the quote is not closed. */
  readonly quotes: string
  /** Why a token cannot be used. */
  readonly refuse?: (token: string) => string | undefined
}

/**
 * Returns the text in the token's place.
 *
 * @param depth how many brackets are open
 * @param at where the token begins
 */
export type Take = (token: string, kind: string, depth: number, at: number) => string

/**
 * @returns the text that `take` has made
 * @throws PoolsmithError CONFIG_INVALID when a quote, comment or bracket is not closed, or there are several statements
 */
export function scan(sql: string, lexer: Lexer, take: Take): string {
  let depth = 0
  let text = ''
  walk(sql, lexer, (token, kind, at) => {
    if (kind === 'other') {
      if (lexer.quotes.includes(token)) throw malformed('a quote is not closed')
      if (token === ';') throw malformed('it is more than one statement')
      if (token === '(') depth += 1
      if (token === ')') depth -= 1
      if (depth < 0) throw malformed('a bracket is closed that was not opened')
    }
    text += take(token, kind, depth, at)
  })
  if (depth !== 0) throw malformed('a bracket is not closed')
  return text
}

/** Calls `take` with each token, its kind and where it begins. */
function walk(
  sql: string,
  { token: pattern, refuse }: Lexer,
  take: (token: string, kind: string, at: number) => void,
): void {
  let at = 0
  while (at < sql.length) {
    if (sql.startsWith('/*', at)) {
      const end = endOfComment(sql, at)
      take(sql.slice(at, end), 'space', at)
      at = end
      continue
    }
    pattern.lastIndex = at
    const match = pattern.exec(sql)
    const token = match?.[0] ?? ''
    const kind = Object.entries(match?.groups ?? {}).find(([name, found]) => name !== 'tag' && found !== undefined)?.[0]
    const refusal = refuse?.(token)
    if (refusal !== undefined) throw malformed(refusal)
    take(token, kind ?? '', at)
    at += token.length
  }
}

/** Where a comment ends that begins at `start`. */
function endOfComment(sql: string, start: number): number {
  let depth = 0
  for (let at = start; at < sql.length; at += 1) {
    if (sql.startsWith('/*', at)) depth += 1
    else if (sql.startsWith('*/', at)) depth -= 1
    else continue
    at += 1
    if (depth === 0) return at + 1
  }
  throw malformed('a comment is not closed')
}

export function malformed(what: string): Error {
  return invalid(`The SQL of the query cannot be used: ${what}.`, 'Give one whole expression or one whole select.')
}

/** The byte order mark at the beginning of a file. */
const MARK = /^\ufeff/

/**
 * The statement without what follows its last semicolon, where that is nothing but blanks and comments: it is a habit,
 * and no second statement. A byte order mark at the beginning is left out too.
 */
export function wholeStatement(sql: string, lexer: Lexer): string {
  const text = sql.replace(MARK, '')
  let end = text.length
  walk(text, lexer, (token, kind, at) => {
    if (kind === 'other' && token === ';') end = Math.min(end, at)
    else if (kind !== 'space') end = text.length
  })
  return text.slice(0, end).trimEnd()
}

/**
 * Replaces each `?` of knex by the text that `place` gives for it, and `\?` by a question mark.
 *
 * @param count how many values there are
 * @param place of the value with this index
 */
export function fill(sql: string, lexer: Lexer, count: number, place: (index: number) => string): string {
  let used = 0
  const text = scan(sql, lexer, (token, kind) => {
    if (kind === 'other' && token === '?') {
      used += 1
      return used <= count ? place(used - 1) : ''
    }
    // knex writes a question mark so, within quotes too.
    return kind === 'space' ? token : token.replaceAll('\\?', '?')
  })
  if (used === count) return text
  throw invalid(
    `The query has ${used} places for ${count} values.`,
    'Write a question mark that is not a place for a value as \\\\?.',
  )
}
