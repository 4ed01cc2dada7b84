/** The part of a line that is about its statement; made once for each text. */

import type { Operation } from '../drivers/statement-watch.ts'
import type { DatabaseSystem } from '../events.ts'
import { printable } from '../printable.ts'
import { sanitised } from '../sanitised-sql.ts'
import { Part } from './line.ts'
import { queryHash, summaryOf } from './statement.ts'

/** Programs with parameters have few texts, those without have as many as values. */
const MOST_KEPT = 500
const LONGEST_KEPT = 10_000
/** In characters, of a text or a value on a line. */
const LONGEST_TEXT = 10_000
const MOST_VALUES = 50

export class Statements {
  readonly #system: DatabaseSystem | undefined
  readonly #query: 'hash' | 'text' | 'values'
  readonly #kept = new Map<string, Part>()

  constructor(system: DatabaseSystem | undefined, query: 'hash' | 'text' | 'values') {
    this.#system = system
    this.#query = query
  }

  partOf(text: string | undefined, values: readonly unknown[] | undefined, operation: Operation | undefined): Part {
    if (text === undefined)
      return new Part({ operation: operation?.name, tables: [operation?.table].flatMap((one) => one ?? []) })
    if (this.#query === 'values') return this.#make(text, values)
    const kept = this.#kept.get(text)
    if (kept !== undefined) return kept
    const made = this.#make(text)
    if (text.length > LONGEST_KEPT) return made
    if (this.#kept.size >= MOST_KEPT) this.#kept.clear()
    this.#kept.set(text, made)
    return made
  }

  #make(text: string, values?: readonly unknown[]): Part {
    const query = this.#query === 'text' ? sanitised(text, this.#system) : text
    return new Part({
      ...summaryOf(text, this.#system),
      query_hash: queryHash(text, this.#system),
      query: this.#query === 'hash' ? undefined : cut(query),
      values: values?.slice(0, MOST_VALUES).map((value) => shown(value)),
    })
  }
}

function cut(text: string): string {
  return text.length > LONGEST_TEXT ? `${text.slice(0, LONGEST_TEXT)}…` : text
}

function shown(value: unknown): unknown {
  if (value === null || typeof value === 'number' || typeof value === 'boolean') return value
  if (value === undefined) return null
  if (typeof value === 'string') return printable(value)
  if (ArrayBuffer.isView(value)) return `${value.byteLength} bytes`
  return printable(typeof value === 'bigint' ? String(value) : (JSON.stringify(value) ?? String(value)))
}
