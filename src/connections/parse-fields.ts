/** Reads options by a table of fields. */

import { didYouMean, nearest } from '../did-you-mean.ts'
import type { ConfigProblem } from '../errors.ts'
import { Secret } from '../secret.ts'
import { type Field, FieldMismatch, type Fields, textProblem, type ValuesOf } from './field-types.ts'
import { LONGEST_KEY, LONGEST_SECRET, LONGEST_TEXT, tooLong } from './limits.ts'
import { childPath } from './problem-path.ts'
import { type ForeignOptions, protects } from './protection.ts'
import { REFERENCE_SUFFIX } from './reference.ts'

/** The result of {@link parseFields}. `warnings` are unknown keys when `strict` is off. */
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
  /** Keys that nothing explains are problems, and others warnings. Default false. */
  readonly closed?: boolean
  /** Defaults that replace the fields' own (a strategy's stricter `sslmode`). */
  readonly defaults?: Readonly<Record<string, unknown>>
  /** The message for a key that is known but belongs elsewhere. */
  readonly elsewhere?: (key: string) => string | undefined
  /** The messages for options of other drivers. */
  readonly foreign?: ForeignOptions | undefined
}

/**
 * Reads `given` by a table of fields and reports all problems at once.
 * An unknown key is a problem when it is one slip away from a known one or seems to protect the connection; any other is
 * a warning unless `strict`.
 */
export function parseFields<F extends Fields>(
  fields: F,
  given: Readonly<Record<string, unknown>>,
  options: ParseFieldsOptions = {},
): ParsedFields<F> {
  const { path: prefix = 'extra', defaults = {} } = options
  const problems: ConfigProblem[] = []
  const warnings: ConfigProblem[] = []

  // Names after aliases: where one option's alias is another's name, the name wins.
  const canonical = new Map<string, string>()
  for (const [name, spec] of Object.entries(fields)) for (const alias of spec.aliases) canonical.set(alias, name)
  for (const name of Object.keys(fields)) canonical.set(name, name)

  const values: Record<string, unknown> = {}
  for (const [name, spec] of Object.entries(fields)) {
    values[name] = Object.hasOwn(defaults, name) ? defaults[name] : spec.default
  }

  const seen = new Map<string, string>()
  for (const [key, value] of Object.entries(given)) {
    const path = childPath(prefix, key)
    const name = canonical.get(key)
    if (name === undefined) {
      const { message, isError } = unknownKey(key, value, canonical, options)
      ;(isError ? problems : warnings).push({ path, message })
      continue
    }
    // An empty or null value is how forms and URIs say "not set".
    if (value === undefined || value === null || (value === '' && fields[name]?.takesEmpty !== true)) continue
    const earlier = seen.get(name)
    if (earlier !== undefined) {
      problems.push({ path, message: `says the same as ${earlier}; keep one of them` })
      continue
    }
    seen.set(name, key)
    const spec = fields[name] as Field<unknown>
    const problem = problemOfTexts(value, spec)
    if (problem !== undefined) {
      problems.push({ path, message: problem })
      continue
    }
    try {
      values[name] = spec.parse(value)
    } catch (error) {
      if (!(error instanceof FieldMismatch)) throw error
      problems.push({ path, message: error.message })
    }
  }
  return { values: values as ValuesOf<F>, problems, warnings }
}

/** The problem of the texts in a value, if any. Checked before parsing, so that a text that is too long is not parsed. */
function problemOfTexts(value: unknown, { secret, longest }: Field<unknown>): string | undefined {
  const limit = longest ?? (secret ? LONGEST_SECRET : LONGEST_TEXT)
  const texts = (Array.isArray(value) ? value.slice(0, limit) : [value])
    .map((item: unknown) => (item instanceof Secret ? item.reveal() : item))
    .filter((item) => typeof item === 'string')
  const length = texts.reduce((sum, text) => sum + text.length, 0)
  if (length > limit) return tooLong(limit)
  return texts.map(textProblem).find((problem) => problem !== undefined)
}

function unknownKey(
  key: string,
  value: unknown,
  known: ReadonlyMap<string, string>,
  { elsewhere, foreign, strict = false, closed = false }: ParseFieldsOptions,
): { readonly message: string; readonly isError: boolean } {
  if (key.length > LONGEST_KEY) return { message: `the key ${tooLong(LONGEST_KEY)}`, isError: true }
  const ofOthers = foreign?.(key, value)
  if (ofOthers !== undefined) {
    return 'refused' in ofOthers
      ? { message: ofOthers.refused, isError: true }
      : { message: ofOthers.ignored, isError: strict }
  }
  const other = elsewhere?.(key)
  if (other !== undefined) return { message: other, isError: strict }
  const option = key.endsWith(REFERENCE_SUFFIX) ? key.slice(0, -REFERENCE_SUFFIX.length) : ''
  // As a warning it would be replaced by the identity of the environment, for example.
  if (known.has(option)) return { message: `${option} takes no reference to a store; give it directly`, isError: true }
  const near = nearest(key, known.keys())
  if (near !== undefined) return { message: `unknown key; ${didYouMean([near])}`, isError: true }
  return protects(key, value)
    ? { message: NO_PROTECTION, isError: true }
    : { message: 'unknown key', isError: strict || closed }
}

const NO_PROTECTION =
  'unknown key; it looks like one that protects the connection, and it would have no effect. Write an option of ' +
  'docs/extras.md in its place, directly under extra'
