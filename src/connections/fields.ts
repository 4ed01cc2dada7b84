/**
 * A small language to say which options there are: their names, types, defaults and meaning.
 *
 * One table of fields is the single source for parsing, for the "did you mean" of validation, for the
 * TypeScript type of the parsed options and for the reference in docs/extras.md. Values may arrive as
 * strings (a URI's query, an environment variable) or as JSON values; both mean the same.
 */

import type { ConfigProblem } from '../errors.ts'
import { Secret } from '../secret.ts'

/** One option. `T` is what parsing yields; it includes `undefined` when there is no default. */
export interface Field<T> {
  /** The type as the documentation shows it: `string`, `integer`, `seconds`, `a | b`. */
  readonly type: string
  readonly description: string
  readonly default: T
  /** Other spellings that mean the same. */
  readonly aliases: readonly string[]
  readonly secret: boolean
  /** Turns a given value into `T`, or throws a {@link FieldMismatch}. */
  readonly parse: (value: unknown) => T
}

// biome-ignore lint/suspicious/noExplicitAny: a table holds fields of every type, and Field is invariant in T.
export type Fields = Readonly<Record<string, Field<any>>>

/** The parsed values of a table of fields. */
export type ValuesOf<F extends Fields> = {
  readonly [K in keyof F]: F[K] extends Field<infer T> ? T : never
}

/** Why a value does not fit its field: "expected …", without the path and never with a secret value. */
export class FieldMismatch extends Error {}

interface Meta<T> {
  readonly description: string
  readonly default?: T
  readonly aliases?: readonly string[]
}
type WithDefault<T> = Meta<T> & { readonly default: T }

function field<T>(type: string, meta: Meta<T>, parse: (value: unknown) => T, secret = false): Field<T | undefined> {
  return {
    type,
    description: meta.description,
    default: meta.default,
    aliases: meta.aliases ?? [],
    secret,
    parse,
  }
}

function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value)
  if (value === null || typeof value !== 'object') return String(value)
  return Array.isArray(value) ? 'a list' : 'an object'
}

/** Free text. Numbers and booleans are taken as their text, since JSON extras are often typed loosely. */
export function text(meta: WithDefault<string>): Field<string>
export function text(meta: Meta<string>): Field<string | undefined>
export function text(meta: Meta<string>): Field<string | undefined> {
  return field('string', meta, (value) => {
    if (typeof value === 'string') return value
    if (typeof value === 'number' || typeof value === 'boolean') return String(value)
    if (value instanceof Secret) return value.reveal()
    throw new FieldMismatch(`expected a string, got ${show(value)}`)
  })
}

/** A path in the local file system; `~/` at the start is the home directory of the process. */
export function path(meta: Meta<string>): Field<string | undefined> {
  return { ...text(meta), type: 'path' }
}

/** A text that is never shown. */
export function secret(meta: Meta<Secret>): Field<Secret | undefined> {
  return field(
    'secret',
    meta,
    (value) => {
      if (value instanceof Secret) return value
      if (typeof value === 'string') return new Secret(value)
      throw new FieldMismatch('expected a string')
    },
    true,
  )
}

interface Range {
  readonly min?: number
  readonly max?: number
}

function numberField(type: string, meta: Meta<number> & Range, whole: boolean): Field<number | undefined> {
  const { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY } = meta
  return field(type, meta, (value) => {
    const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value
    if (typeof number !== 'number' || !Number.isFinite(number) || (whole && !Number.isInteger(number))) {
      throw new FieldMismatch(`expected ${whole ? 'a whole number' : 'a number'}, got ${show(value)}`)
    }
    if (number < min || number > max) {
      const bounds =
        max === Number.POSITIVE_INFINITY
          ? `at least ${min}`
          : min === Number.NEGATIVE_INFINITY
            ? `at most ${max}`
            : `from ${min} to ${max}`
      throw new FieldMismatch(`expected ${bounds}, got ${show(value)}`)
    }
    return number
  })
}

export function integer(meta: WithDefault<number> & Range): Field<number>
export function integer(meta: Meta<number> & Range): Field<number | undefined>
export function integer(meta: Meta<number> & Range): Field<number | undefined> {
  return numberField('integer', meta, true)
}

/** A duration in seconds; fractions are allowed. */
export function seconds(meta: WithDefault<number> & Range): Field<number>
export function seconds(meta: Meta<number> & Range): Field<number | undefined>
export function seconds(meta: Meta<number> & Range): Field<number | undefined> {
  return numberField('seconds', { min: 0, ...meta }, false)
}

const TRUE = new Set(['true', 't', 'yes', 'y', 'on', '1'])
const FALSE = new Set(['false', 'f', 'no', 'n', 'off', '0'])

export function boolean(meta: WithDefault<boolean>): Field<boolean>
export function boolean(meta: Meta<boolean>): Field<boolean | undefined>
export function boolean(meta: Meta<boolean>): Field<boolean | undefined> {
  return field('boolean', meta, (value) => {
    if (typeof value === 'boolean') return value
    const word = String(value).toLowerCase()
    if ((typeof value === 'string' || typeof value === 'number') && TRUE.has(word)) return true
    if ((typeof value === 'string' || typeof value === 'number') && FALSE.has(word)) return false
    throw new FieldMismatch(`expected true or false, got ${show(value)}`)
  })
}

/** One of a fixed set of words. */
export function oneOf<const V extends string>(values: readonly V[], meta: WithDefault<NoInfer<V>>): Field<V>
export function oneOf<const V extends string>(values: readonly V[], meta: Meta<NoInfer<V>>): Field<V | undefined>
export function oneOf<const V extends string>(values: readonly V[], meta: Meta<V>): Field<V | undefined> {
  return field(values.join(' | '), meta, (value) => {
    const found = values.find((candidate) => candidate === value)
    if (found !== undefined) return found
    const near = typeof value === 'string' ? nearest(value, values) : undefined
    throw new FieldMismatch(
      `expected one of ${values.join(', ')}; got ${show(value)}${near === undefined ? '' : ` (did you mean ${near}?)`}`,
    )
  })
}

/** A list of texts: a JSON array, or one string with commas. */
export function list(meta: Meta<readonly string[]>): Field<readonly string[] | undefined> {
  return field('list', meta, (value) => {
    const items = typeof value === 'string' ? value.split(',') : value
    if (!Array.isArray(items) || items.some((item) => typeof item !== 'string')) {
      throw new FieldMismatch(`expected a list of strings, got ${show(value)}`)
    }
    return items.map((item: string) => item.trim()).filter((item) => item !== '')
  })
}

/** What {@link parseFields} found. `warnings` are unknown keys when `strict` is off. */
export interface ParsedFields<F extends Fields> {
  readonly values: ValuesOf<F>
  readonly problems: readonly ConfigProblem[]
  readonly warnings: readonly ConfigProblem[]
}

export interface ParseFieldsOptions {
  /** Prefix of every path in problems. Default `extra`. */
  readonly path?: string
  /** Unknown keys are problems rather than warnings. Default false. */
  readonly strict?: boolean
  /** Defaults that replace the fields' own (a strategy's stricter `sslmode`). */
  readonly defaults?: Readonly<Record<string, unknown>>
  /** Keys that are known but belong elsewhere, with the sentence to say about them. */
  readonly elsewhere?: (key: string) => string | undefined
}

/**
 * Reads `given` by a table of fields and reports everything that is wrong with it at once.
 * A key one slip away from a known one is always a problem; any other unknown key is a warning unless `strict`.
 */
export function parseFields<F extends Fields>(
  fields: F,
  given: Readonly<Record<string, unknown>>,
  options: ParseFieldsOptions = {},
): ParsedFields<F> {
  const { path: prefix = 'extra', strict = false, defaults = {} } = options
  const problems: ConfigProblem[] = []
  const warnings: ConfigProblem[] = []
  const at = (key: string): string => (prefix === '' ? key : `${prefix}.${key}`)

  const canonical = new Map<string, string>()
  for (const [name, spec] of Object.entries(fields)) {
    canonical.set(name, name)
    for (const alias of spec.aliases) canonical.set(alias, name)
  }

  const values: Record<string, unknown> = {}
  for (const [name, spec] of Object.entries(fields)) {
    values[name] = Object.hasOwn(defaults, name) ? defaults[name] : spec.default
  }

  const seen = new Map<string, string>()
  for (const [key, value] of Object.entries(given)) {
    const name = canonical.get(key)
    if (name === undefined) {
      const near = nearest(key, canonical.keys())
      const other = options.elsewhere?.(key)
      if (other !== undefined) warnings.push({ path: at(key), message: other })
      else if (near !== undefined) problems.push({ path: at(key), message: `unknown key; did you mean ${near}?` })
      else (strict ? problems : warnings).push({ path: at(key), message: 'unknown key' })
      continue
    }
    const earlier = seen.get(name)
    if (earlier !== undefined) {
      problems.push({ path: at(key), message: `says the same as ${earlier}; keep one of them` })
      continue
    }
    seen.set(name, key)
    // An empty or null value is how forms and URIs say "not set".
    if (value === undefined || value === null || value === '') continue
    try {
      values[name] = (fields[name] as Field<unknown>).parse(value)
    } catch (error) {
      if (!(error instanceof FieldMismatch)) throw error
      problems.push({ path: at(key), message: error.message })
    }
  }
  return { values: values as ValuesOf<F>, problems, warnings }
}

/** The candidate that is one slip away (a letter too many, too few, wrong or swapped; case or separators), if any. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  const plain = (value: string): string => value.toLowerCase().replaceAll(/[-_. ]/g, '')
  for (const candidate of candidates) {
    if (plain(candidate) === plain(word) || oneSlip(word, candidate)) return candidate
  }
  return undefined
}

function oneSlip(a: string, b: string): boolean {
  if (a === b || Math.abs(a.length - b.length) > 1) return false
  if (Math.min(a.length, b.length) < 3) return false
  let start = 0
  while (start < a.length && start < b.length && a[start] === b[start]) start++
  let endA = a.length - 1
  let endB = b.length - 1
  while (endA >= start && endB >= start && a[endA] === b[endB]) {
    endA--
    endB--
  }
  const left = a.slice(start, endA + 1)
  const right = b.slice(start, endB + 1)
  if (left.length <= 1 && right.length <= 1) return true
  return left.length === 2 && right.length === 2 && left[0] === right[1] && left[1] === right[0]
}
