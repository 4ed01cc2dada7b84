/** Part of the TDS server test double: the statements of a batch, also without semicolons between them. */

import { type Token, wordOf } from './tsql.ts'

/** Words that begin a statement. */
const BEGINNERS: ReadonlySet<string> = new Set([
  'select',
  'insert',
  'update',
  'delete',
  'merge',
  'create',
  'drop',
  'alter',
  'truncate',
  'declare',
  'set',
  'if',
  'begin',
  'commit',
  'rollback',
  'save',
  'exec',
  'execute',
  'print',
  'raiserror',
  'throw',
  'waitfor',
  'use',
])

/** Behind these words another one goes on with the statement: `as select`, `union all select`, `on delete`, `then update`. */
const BEFORE_PARTS = new Set(['as', 'union', 'all', 'except', 'intersect', 'for', 'of', 'then', 'after', 'or'])

/** Words that belong to a statement which begins by another one: UPDATE has a SET, INSERT a SELECT, DROP TABLE an IF. */
const PARTS: Readonly<Record<string, readonly string[]>> = {
  update: ['set'],
  insert: ['select', 'exec', 'execute'],
  merge: ['set', 'insert', 'update', 'delete'],
  create: ['if'],
  drop: ['if'],
  alter: ['set', 'if', 'create', 'drop', 'alter'],
  grant: [...BEGINNERS],
}
/** These are followed by at most one of their parts. */
const ONE_PART = new Set(['update', 'insert'])

/** Counts parentheses, and BEGIN … END and CASE … END. */
class Nesting {
  #parentheses = 0
  #blocks = 0
  #cases = 0

  get isOutside(): boolean {
    return this.#parentheses === 0 && this.#blocks === 0 && this.#cases === 0
  }

  /** @param next the word behind the token */
  enter(token: Token, next: string | undefined): void {
    if (token.kind === 'symbol') {
      if (token.text === '(') this.#parentheses++
      if (token.text === ')') this.#parentheses--
      return
    }
    const word = wordOf(token)
    if (word === 'case') this.#cases++
    else if (word === 'begin' && next?.startsWith('tran') !== true) this.#blocks++
    else if (word === 'end') {
      if (this.#cases > 0) this.#cases--
      else this.#blocks--
    }
  }
}

const isSpace = ({ kind }: Token): boolean => kind === 'space'

function trimmed(tokens: readonly Token[]): Token[] {
  const from = tokens.findIndex((token) => !isSpace(token))
  const to = tokens.findLastIndex((token) => !isSpace(token))
  return from < 0 ? [] : tokens.slice(from, to + 1)
}

/** Splits at semicolons, behind a block, and where a word begins a statement that is no part of the one before. */
export function statements(tokens: readonly Token[]): Token[][] {
  const all: Token[][] = []
  const nesting = new Nesting()
  let current: Token[] = []
  /** The word that the present statement begins by; behind IF and ELSE the one of the statement inside. */
  let first: string | undefined
  let previous: Token | undefined
  const finish = (): void => {
    const statement = trimmed(current)
    if (wordOf(statement[0]) === 'else') all.at(-1)?.push({ kind: 'space', text: ' ' }, ...statement)
    else if (statement.length > 0) all.push(statement)
    current = []
    first = undefined
    previous = undefined
  }
  for (const [index, token] of tokens.entries()) {
    const word = wordOf(token)
    if (nesting.isOutside) {
      if (token.kind === 'symbol' && token.text === ';') {
        finish()
        continue
      }
      if (word === 'else') finish()
      if (word === 'values' && first === 'insert') first = ''
      if (word !== undefined && first !== undefined && !isAttached(previous, first)) {
        if (beginsPart(first, word)) {
          if (ONE_PART.has(first)) first = ''
        } else if (BEGINNERS.has(word)) {
          // From here on it is the statement that they guard, or that uses the tables of WITH.
          if (['if', 'else', 'with'].includes(first)) first = word
          else finish()
        }
      }
      if (first === undefined && !isSpace(token)) first = word ?? ''
    }
    nesting.enter(token, wordOf(tokens.slice(index + 1).find((one) => !isSpace(one))))
    current.push(token)
    if (word === 'end' && nesting.isOutside && isBlock(current)) finish()
    else if (!isSpace(token)) previous = token
  }
  finish()
  return all
}

const beginsPart = (first: string, word: string): boolean => PARTS[first]?.includes(word) === true

/** Whether a word goes on with what stands before it. */
function isAttached(previous: Token | undefined, first: string): boolean {
  if (previous?.kind === 'symbol') return previous.text !== ')' && previous.text !== '*'
  const word = wordOf(previous)
  // ON DELETE CASCADE, but not SET NOCOUNT ON.
  if (word === 'on') return first === 'create' || first === 'alter'
  return BEFORE_PARTS.has(word ?? '')
}

/** Whether the last END closes a block and not a CASE: a block is a whole statement, or what IF and ELSE guard. */
function isBlock(tokens: readonly Token[]): boolean {
  const words = tokens.map(wordOf).filter((word) => word !== undefined)
  let depth = 0
  for (const word of words.toReversed()) {
    if (word === 'end') depth++
    else if (word === 'begin' || word === 'case') {
      depth--
      if (depth === 0) return word === 'begin'
    }
  }
  return false
}

/** The statements between BEGIN and END. */
export function blockOf(tokens: readonly Token[]): Token[][] {
  const from = tokens.findIndex((token) => wordOf(token) === 'begin')
  const to = tokens.findLastIndex((token) => wordOf(token) === 'end')
  return statements(tokens.slice(from + 1, to))
}

export interface Conditional {
  readonly condition: readonly Token[]
  readonly action: readonly Token[]
  /** Empty without ELSE. */
  readonly otherwise: readonly Token[]
}

/** The parts of `IF condition statement ELSE statement`. */
export function conditionalOf(tokens: readonly Token[]): Conditional {
  const nesting = new Nesting()
  let action: number | undefined
  let otherwise = tokens.length
  for (const [index, token] of tokens.entries()) {
    const word = wordOf(token)
    if (nesting.isOutside && index > 0) {
      if (action === undefined && BEGINNERS.has(word ?? '')) action = index
      else if (action !== undefined && word === 'else') {
        otherwise = index
        break
      }
    }
    nesting.enter(token, wordOf(tokens.slice(index + 1).find((one) => !isSpace(one))))
  }
  const from = action ?? tokens.length
  return {
    condition: tokens.slice(1, from),
    action: trimmed(tokens.slice(from, otherwise)),
    otherwise: trimmed(tokens.slice(otherwise + 1)),
  }
}
