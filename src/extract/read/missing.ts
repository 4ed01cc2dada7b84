/** Errors for names that the catalogue does not have, with the names that are spelled like them. */

import { didYouMeanSentence, nearNames } from '../../did-you-mean.ts'
import { PoolsmithError } from '../../errors.ts'

/** How a database quotes a name. */
export type Quote = (name: string) => string

interface Missing {
  /** The name as it was given. */
  readonly name: string
  /** The names that there are. */
  readonly names: readonly string[]
  readonly quote: Quote
  readonly hint: string
}

export function noSchema({ name, names, quote, hint }: Missing): PoolsmithError {
  const near = nearNames(name, names)
  return new PoolsmithError(`There is no schema ${quote(name)}.${didYouMeanSentence(near, quote)}`, {
    code: 'SCHEMA_NOT_FOUND',
    phase: 'query',
    hint,
    details: { schema: name, near },
  })
}

export function noTable(schema: string, { name, names, quote, hint }: Missing): PoolsmithError {
  const near = nearNames(name, names)
  return new PoolsmithError(`There is no table ${quote(schema)}.${quote(name)}.${didYouMeanSentence(near, quote)}`, {
    code: 'TABLE_NOT_FOUND',
    phase: 'query',
    hint,
    details: { schema, table: name, near },
  })
}

/** @param kind what has the name, with its article */
export function notReadable(
  table: { readonly schema: string; readonly name: string },
  kind: string,
  quote: Quote,
  hint: string,
): PoolsmithError {
  const { schema, name } = table
  return new PoolsmithError(`${quote(schema)}.${quote(name)} is ${kind}, which cannot be extracted.`, {
    code: 'TABLE_NOT_FOUND',
    phase: 'query',
    hint,
    details: { schema, table: name },
  })
}

/** @param shown the table or query, as errors name it */
export function noColumn(
  shown: string,
  name: string,
  names: readonly string[],
  quote: Quote,
  cause?: unknown,
): PoolsmithError {
  const near = nearNames(name, names)
  return new PoolsmithError(`${shown} has no column ${quote(name)}.${didYouMeanSentence(near, quote)}`, {
    code: 'COLUMN_NOT_FOUND',
    phase: 'query',
    hint: 'Give the column as the catalogue spells it; names are case-sensitive here.',
    details: { column: name, near },
    cause,
  })
}
