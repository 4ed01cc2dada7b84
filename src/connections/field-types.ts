/**
 * A small language that describes options: their names, types, defaults and meaning.
 *
 * One table of fields is the single source for parsing, for the "did you mean" of validation, for the
 * TypeScript type of the parsed options and for the reference in docs/extras.md. Values may arrive as
 * strings (a URI's query, an environment variable) or as JSON values; both mean the same.
 */

import { homedir } from 'node:os'
import { join } from 'node:path'
import { didYouMean, nearest } from '../did-you-mean.ts'
import { isPlausiblePath } from '../plausible-path.ts'
import { Secret } from '../secret.ts'
import { isKeyMaterial, isSecretText } from '../secret-text.ts'
import { plainName } from './protection.ts'

/** One option. `T` is what parsing yields; it includes `undefined` when there is no default. */
export interface Field<T> {
  /** The type as the documentation shows it: `string`, `integer`, `seconds`, `a | b`. */
  readonly type: string
  readonly description: string
  readonly default: T
  /** Other spellings that mean the same. */
  readonly aliases: readonly string[]
  readonly secret: boolean
  /** The longest text that it takes, in characters. Default: 64 Ki for a secret, 8 Ki for any other. */
  readonly longest?: number
  /** Whether an empty text is a value and not "not set". Default false. */
  readonly takesEmpty?: boolean
  /** Turns a given value into `T`, or throws a {@link FieldMismatch}. */
  readonly parse: (value: unknown) => T
}

/**
 * A table of options by their names, which describes each one: {@link text}, {@link integer}, {@link boolean} and the
 * others make its fields.
 */
// biome-ignore lint/suspicious/noExplicitAny: a table holds fields of every type, and Field is invariant in T.
export type Fields = Readonly<Record<string, Field<any>>>

/** The parsed values of a table of fields. */
export type ValuesOf<F extends Fields> = {
  readonly [K in keyof F]: F[K] extends Field<infer T> ? T : never
}

/**
 * Why a value does not fit its field, without the path: `expected a whole number, got "ten"`.
 * Leave `got` out where the value may be a secret; `near` is the word that was probably meant.
 */
export class FieldMismatch extends Error {
  readonly expected: string

  constructor(expected: string, got?: unknown, near?: string) {
    super(
      `${expected}${got === undefined ? '' : `, got ${show(got)}`}${near === undefined ? '' : ` (${didYouMean([near])})`}`,
    )
    this.expected = expected
  }
}

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
    parse: (value) => {
      if (secret) return parse(value)
      // The extras wrap every value that looks like a secret: a URL with a login in it, a key called token_lifetime.
      const plain = revealed(value)
      try {
        return parse(plain.value)
      } catch (error) {
        throw error instanceof FieldMismatch && plain.hidden ? new FieldMismatch(error.expected) : error
      }
    },
  }
}

function revealed(value: unknown): { value: unknown; hidden: boolean } {
  if (value instanceof Secret) return { value: value.reveal(), hidden: true }
  if (!Array.isArray(value) || !value.some((item) => item instanceof Secret)) return { value, hidden: false }
  return { value: value.map((item: unknown) => (item instanceof Secret ? item.reveal() : item)), hidden: true }
}

/** A rule for the whole text, and how an error names it: `the name of a strategy`. */
interface Pattern {
  readonly matches: RegExp
  readonly expected: string
}

/** Text that no protocol of a database can carry, or that would end one of its fields early. */
export function textProblem(text: string): string | undefined {
  if (!text.isWellFormed()) return 'holds half a surrogate pair, which is not Unicode text'
  if (text.includes('\0')) return 'holds a NUL character'
  return undefined
}

function fits(pattern: Pattern | undefined, given: string): boolean {
  return pattern === undefined || (pattern.matches.test(given) && !isSecretText(given))
}

type TextMeta = Meta<string> & { readonly pattern?: Pattern }

/** Free text. Numbers and booleans are taken as their text, since JSON extras are often typed loosely. */
export function text(meta: TextMeta & WithDefault<string>): Field<string>
export function text(meta: TextMeta): Field<string | undefined>
export function text(meta: TextMeta): Field<string | undefined> {
  const { pattern } = meta
  return field('string', meta, (value) => {
    if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') {
      throw new FieldMismatch('expected a string', value)
    }
    const given = String(value)
    const problem =
      textProblem(given) ?? (isKeyMaterial(given) ? 'is a key or a token, which is not taken here' : undefined)
    if (problem !== undefined) throw new FieldMismatch(problem)
    if (!fits(pattern, given)) throw new FieldMismatch(`expected ${pattern?.expected}`, value)
    return given
  })
}

/** The home directory; `/`, as container engines have it, for a user whom the system does not know. */
export function homeFolder(): string {
  try {
    return homedir()
  } catch {
    return '/'
  }
}

export interface PathMeta extends Meta<string> {
  /** Words that are taken beside paths, such as `system`. */
  readonly words?: readonly string[]
}

/**
 * A path in the local file system; `~/` at the start is the home directory of the process. A text that cannot be a
 * path is refused and not repeated: paths are shown in errors and events, and the text may be a key or a password.
 */
export function path(meta: PathMeta): Field<string | undefined> {
  return field('path', meta, (value) => {
    const given = typeof value === 'string' || typeof value === 'number' ? String(value) : ''
    if (meta.words?.includes(given)) return given
    if (!isPlausiblePath(given)) throw new FieldMismatch(NO_PATH)
    return given.startsWith('~/') ? join(homeFolder(), given.slice(2)) : given
  })
}

const NO_PATH =
  'expected the path of a file, such as /etc/ssl/client.key or ./client.key (not repeated: it may be a secret)'

/** A text that is never printed. */
export function secret(meta: Meta<Secret>): Field<Secret | undefined> {
  return field(
    'secret',
    meta,
    (value) => {
      if (value instanceof Secret) return value
      if (typeof value === 'string') return new Secret(value)
      // Not repeated: it may be the secret, as a number that YAML has already stripped of its leading zeros.
      throw new FieldMismatch('expected a string; put quotes around it')
    },
    true,
  )
}

interface Range {
  readonly min?: number
  readonly max?: number
}

/** Plain decimal notation: what JavaScript would also take for a number (hexadecimal, blanks) is a slip here. */
const DECIMAL = /^[+-]?(\d+(\.\d+)?|\.\d+)(e[+-]?\d+)?$/i

function numberField(type: string, meta: Meta<number> & Range, whole: boolean): Field<number | undefined> {
  const { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY } = meta
  const bounds =
    min === Number.NEGATIVE_INFINITY && max === Number.POSITIVE_INFINITY
      ? ''
      : max === Number.POSITIVE_INFINITY
        ? ` of at least ${min}`
        : min === Number.NEGATIVE_INFINITY
          ? ` of at most ${max}`
          : ` from ${min} to ${max}`
  // The documentation does not repeat that a number is not negative.
  const shownType = bounds === ' of at least 0' ? type : `${type}${bounds}`
  return field(shownType, meta, (value) => {
    const number = typeof value === 'string' && DECIMAL.test(value.trim()) ? Number(value) : value
    const fits =
      typeof number === 'number' &&
      (whole ? Number.isSafeInteger(number) : Number.isFinite(number)) &&
      number >= min &&
      number <= max
    if (!fits) throw new FieldMismatch(`expected a ${whole ? 'whole ' : ''}number${bounds}`, value)
    return number
  })
}

/** An option that is a whole number, within `min` and `max` where these are given. */
export function integer(meta: WithDefault<number> & Range): Field<number>
export function integer(meta: Meta<number> & Range): Field<number | undefined>
export function integer(meta: Meta<number> & Range): Field<number | undefined> {
  return numberField('integer', meta, true)
}

/** The `max` of a duration that a timer measures: setTimeout takes a longer one than 24.8 days for no time at all. */
export const LONGEST_TIMER_SECONDS = 2_000_000

/** A duration in seconds; fractions are allowed. */
export function seconds(meta: WithDefault<number> & Range): Field<number>
export function seconds(meta: Meta<number> & Range): Field<number | undefined>
export function seconds(meta: Meta<number> & Range): Field<number | undefined> {
  return numberField('seconds', { min: 0, ...meta }, false)
}

const TRUE = new Set(['true', 't', 'yes', 'y', 'on', '1'])
const FALSE = new Set(['false', 'f', 'no', 'n', 'off', '0'])

/** An option that is true or false; also takes `yes`, `on`, `1` and their opposites. */
export function boolean(meta: WithDefault<boolean>): Field<boolean>
export function boolean(meta: Meta<boolean>): Field<boolean | undefined>
export function boolean(meta: Meta<boolean>): Field<boolean | undefined> {
  return field('boolean', meta, (value) => {
    if (typeof value === 'boolean') return value
    const word = typeof value === 'string' || typeof value === 'number' ? String(value).trim().toLowerCase() : ''
    if (TRUE.has(word)) return true
    if (FALSE.has(word)) return false
    throw new FieldMismatch('expected true or false', value)
  })
}

interface Synonyms<V> {
  /** Words of other drivers, in small letters without separators, and what they mean here. */
  readonly synonyms?: Readonly<Record<string, V>>
}

/** One of a fixed set of words. */
export function oneOf<const V extends string>(
  values: readonly V[],
  meta: WithDefault<NoInfer<V>> & Synonyms<NoInfer<V>>,
): Field<V>
export function oneOf<const V extends string>(
  values: readonly V[],
  meta: Meta<NoInfer<V>> & Synonyms<NoInfer<V>>,
): Field<V | undefined>
export function oneOf<const V extends string>(values: readonly V[], meta: Meta<V> & Synonyms<V>): Field<V | undefined> {
  return field(values.join(' | '), meta, (value) => {
    const found = values.find((candidate) => candidate === value)
    if (found !== undefined) return found
    const { synonyms } = meta
    const plain = typeof value === 'string' || typeof value === 'number' ? plainName(String(value)) : ''
    if (synonyms !== undefined && Object.hasOwn(synonyms, plain)) return synonyms[plain]
    const near = typeof value === 'string' ? nearest(value, values) : undefined
    throw new FieldMismatch(`expected one of ${values.join(' | ')}`, value, near)
  })
}

/**
 * A list of texts: a JSON array, or one string with commas. One without items is refused: it would mean no restriction
 * where one was meant.
 */
export function list(
  meta: Meta<readonly string[]> & { readonly pattern?: Pattern },
): Field<readonly string[] | undefined> {
  const { pattern } = meta
  return field('list', meta, (value) => {
    const given = typeof value === 'string' ? value.split(',') : value
    if (!Array.isArray(given) || given.some((item) => typeof item !== 'string')) {
      throw new FieldMismatch('expected a list of strings', value)
    }
    const items = given.map((item: string) => item.trim()).filter((item) => item !== '')
    if (items.length === 0)
      throw new FieldMismatch('expected a list with at least one item; leave the option out to set none')
    if (!items.every((item) => fits(pattern, item))) throw new FieldMismatch(`expected ${pattern?.expected}`)
    return items
  })
}

/** A value as an error shows it: short, on one line, and not at all where it may be a secret. */
export function show(value: unknown): string {
  if (typeof value === 'string' && isSecretText(value)) return 'a text that may be a secret'
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value)
  if (typeof value === 'function') return 'a function'
  if (value === null || typeof value !== 'object') return String(value)
  return Array.isArray(value) ? 'a list' : 'an object'
}
