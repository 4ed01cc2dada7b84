/** The keyword arguments of Airflow's secrets backends, which are the settings of our stores too. */

import { type Field, FieldMismatch, type Fields, parseFields, text, type ValuesOf } from '../../connections/fields.ts'
import { ConfigError } from '../../errors.ts'
import { Secret } from '../../secret.ts'

/** A text that may be empty, such as a prefix. */
export function prefix(options: { readonly default: string; readonly description: string }): Field<string> {
  return { ...text(options), takesEmpty: true }
}

/** A text, or a list of texts in the order in which they are tried. */
export function prefixes(options: {
  readonly default: string
  readonly description: string
}): Field<readonly string[]> {
  return {
    ...text({ description: options.description }),
    type: 'string | list',
    default: [options.default],
    takesEmpty: true,
    parse(value) {
      const plain = value instanceof Secret ? value.reveal() : value
      const items: unknown[] = Array.isArray(plain) ? plain : [plain]
      if (items.length > 0 && items.every((item) => typeof item === 'string')) return items
      throw new FieldMismatch('expected a string or a list of strings')
    },
  }
}

/** An object, also as JSON text: a single argument in a variable is always a text. */
export function object(description: string): Field<Readonly<Record<string, unknown>> | undefined> {
  return {
    ...text({ description }),
    type: 'object',
    default: undefined,
    // Its values are not shown.
    secret: true,
    parse(value) {
      const plain = value instanceof Secret ? value.reveal() : value
      const given = typeof plain === 'string' ? jsonOf(plain) : plain
      if (typeof given === 'object' && given !== null && !Array.isArray(given)) return given as Record<string, unknown>
      throw new FieldMismatch('expected an object')
    },
  }
}

function jsonOf(given: string): unknown {
  try {
    return JSON.parse(given)
  } catch {
    // The parser's message quotes the text.
    throw new FieldMismatch('expected an object in JSON')
  }
}

/** A regular expression of Python, which an id must match from its beginning, whatever the case. */
export function pattern(description: string): Field<RegExp | undefined> {
  return {
    ...text({ description }),
    default: undefined,
    parse(value) {
      const source = value instanceof Secret ? value.reveal() : value
      if (typeof source !== 'string') throw new FieldMismatch('expected a regular expression', value)
      try {
        return new RegExp(`^(?:${source.replaceAll('(?P<', '(?<').replaceAll('\\A', '^').replaceAll('\\Z', '$')})`, 'i')
      } catch {
        throw new FieldMismatch('expected a regular expression that JavaScript has too', value)
      }
    },
  }
}

/** Arguments as they were read. */
export interface Kwargs<F extends Fields> {
  readonly values: ValuesOf<F>
  /** Whether an argument is `null`, by which Airflow turns a kind of look-ups off. */
  isNull(name: keyof F & string): boolean
}

/**
 * @param subject names the settings in errors
 * @param unsupported reasons for arguments that Airflow has and that have no counterpart here
 * @throws ConfigError with all problems
 */
export function readKwargs<F extends Fields>(
  fields: F,
  given: Readonly<Record<string, unknown>>,
  subject: string,
  unsupported: Readonly<Record<string, string>> = {},
): Kwargs<F> {
  const { values, problems, warnings } = parseFields(fields, given, {
    path: '',
    strict: true,
    elsewhere: (key) => (Object.hasOwn(unsupported, key) ? `is not supported; ${unsupported[key]}` : undefined),
  })
  const all = [...problems, ...warnings]
  if (all.length > 0) throw new ConfigError(all, { subject })
  return { values, isNull: (name) => given[name] === null }
}
