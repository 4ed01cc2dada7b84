/** The facts of a statement for the audit log: its operation, its tables, and the hash of its text without the values in it. */

import { createHash } from 'node:crypto'
import type { DatabaseSystem } from '../events.ts'
import { sanitised } from '../sanitised-sql.ts'

/** Longer texts are looked at as far as this. */
const LONGEST = 20_000
const MOST_TABLES = 20
const MOST_OPERATIONS = 10

export interface StatementSummary {
  /** In lower case, such as `select`; of a text with several statements all of them: `begin; delete`. */
  readonly operation: string
  /** As `schema.table` where the text says so. Views and synonyms look like tables. */
  readonly tables: readonly string[]
}

/** A word, a quoted identifier, or one character. */
const TOKEN = /"(?:[^"]|"")*"|\[(?:[^\]]|\]\])*\]|[\p{L}_@#$][\p{L}\d_@#$]*|[^\s]/gu
const IDENTIFIER = /^["[\p{L}_@#]/u
/** Functions with `from` among their arguments. */
const FROM_INSIDE: ReadonlySet<string> = new Set(['extract', 'substring', 'trim', 'overlay', 'position'])
/** A name follows these words. */
const BEFORE_TABLE: ReadonlySet<string> = new Set([
  'from',
  'join',
  'into',
  'update',
  'table',
  'using',
  'truncate',
  'copy',
])
/** Words between those and the name. */
const PASSED: ReadonlySet<string> = new Set([
  'only',
  'table',
  'if',
  'not',
  'exists',
  'into',
  'bulk',
  'temporary',
  'temp',
])
/** These words are no names. */
const NO_NAME: ReadonlySet<string> = new Set([
  'set',
  'of',
  'nowait',
  'skip',
  'select',
  'lateral',
  'values',
  'unnest',
  'stdin',
  'stdout',
])
/** The operations of a statement that begins with `with`. */
const AFTER_WITH: ReadonlySet<string> = new Set(['select', 'insert', 'update', 'delete', 'merge'])
/** In SQL Server these may be followed by a table without any word between. */
const DIRECT: ReadonlySet<string> = new Set(['insert', 'delete', 'merge'])

/** The operation and the tables of a text, as far as words tell. */
export function summaryOf(text: string, system: DatabaseSystem | undefined): StatementSummary {
  return new Scan(sanitised(text.slice(0, LONGEST), system), system).summary()
}

/**
 * SHA-256, in hexadecimal, of a text without the comments and the values in it: the same for all texts that differ in
 * values only. It is the `query_hash` of the log.
 *
 * @example
 * queryHash("select 1 from flights where carrier = 'AA'", 'postgresql')
 */
export function queryHash(text: string, system: DatabaseSystem | undefined): string {
  return createHash('sha256').update(sanitised(text, system)).digest('hex')
}

class Scan {
  readonly #tokens: readonly string[]
  readonly #folds: boolean
  readonly #tables = new Set<string>()
  readonly #ownNames = new Set<string>()
  readonly #operations: string[] = []

  constructor(text: string, system: DatabaseSystem | undefined) {
    this.#tokens = text.match(TOKEN) ?? []
    this.#folds = system !== 'microsoft.sql_server'
  }

  summary(): StatementSummary {
    /** For each open parenthesis, whether `from` inside it is an argument. */
    const open: boolean[] = []
    let begins = true
    let isWith = false
    for (let at = 0; at < this.#tokens.length; at++) {
      const word = this.#word(at)
      if (word === '(') {
        open.push(FROM_INSIDE.has(this.#word(at - 1)))
      } else if (word === ')') {
        open.pop()
      } else if (word === ';') {
        begins = true
        isWith = false
      } else {
        if (begins) {
          begins = false
          isWith = word === 'with'
          if (!isWith) this.#operate(word)
        } else if (isWith && open.length === 0 && AFTER_WITH.has(word)) {
          isWith = false
          this.#operate(word)
        }
        if (isWith && IDENTIFIER.test(word)) this.#noteOwn(at)
        if (this.#precedesTable(at, word, open.at(-1) === true)) this.#tablesAt(at + 1, word)
      }
    }
    const tables = [...this.#tables].filter((table) => !this.#ownNames.has(table)).slice(0, MOST_TABLES)
    return { operation: this.#operations.join('; ') || 'none', tables }
  }

  #word(at: number): string {
    const token = this.#tokens[at] ?? ''
    return token.startsWith('"') || token.startsWith('[') ? token : token.toLowerCase()
  }

  #operate(word: string): void {
    if (this.#operations.length < MOST_OPERATIONS && /^\p{L}/u.test(word)) this.#operations.push(word)
  }

  /** The name of a common table expression: `name [(columns)] as [not materialized] (`. */
  #noteOwn(at: number): void {
    let next = at + 1
    if (this.#word(next) === '(') while (next < this.#tokens.length && this.#word(next++) !== ')');
    if (this.#word(next) === 'as') this.#ownNames.add(this.#name(at))
  }

  #precedesTable(at: number, word: string, isArgument: boolean): boolean {
    const before = this.#word(at - 1)
    if (word === 'from') return !isArgument && before !== 'distinct'
    if (word === 'update') return before !== 'for' && before !== 'do' && before !== 'key' && before !== 'on'
    if (BEFORE_TABLE.has(word)) return true
    return DIRECT.has(word) && !this.#folds && (before === '' || before === ';')
  }

  /** Notes the table whose name begins here, and those after commas. */
  #tablesAt(start: number, after: string): void {
    let at = start
    while (PASSED.has(this.#word(at))) at++
    const first = this.#word(at)
    if (!IDENTIFIER.test(first) || NO_NAME.has(first) || BEFORE_TABLE.has(first)) return
    const parts = [this.#name(at)]
    while (this.#word(at + 1) === '.' && IDENTIFIER.test(this.#word(at + 2))) {
      at += 2
      parts.push(this.#name(at))
    }
    const isCall = this.#word(at + 1) === '(' && (after === 'from' || after === 'join' || after === 'using')
    if (!isCall) this.#tables.add(parts.join('.'))
    if (after !== 'from' || isCall) return
    // An alias may stand before the comma.
    if (this.#word(at + 1) === 'as') at++
    if (IDENTIFIER.test(this.#word(at + 1)) && this.#word(at + 2) === ',') at++
    if (this.#word(at + 1) === ',') this.#tablesAt(at + 2, after)
  }

  #name(at: number): string {
    const token = this.#tokens[at] ?? ''
    if (token.startsWith('"')) return dotted(token.slice(1, -1).replaceAll('""', '"'))
    if (token.startsWith('[')) return dotted(token.slice(1, -1).replaceAll(']]', ']'))
    return this.#folds ? token.toLowerCase() : token
  }
}

/** A name with a dot in it stays in quotes, so that it is not taken for two. */
function dotted(name: string): string {
  return name.includes('.') ? `"${name}"` : name
}
