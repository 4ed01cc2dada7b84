/**
 * Values of bytea are checked before pg's parser reads them. That parser loops for ever at a backslash that is followed
 * neither by another one nor by three octal digits, which no genuine server sends (PostgreSQL documentation, "Binary Data
 * Types").
 */

import type pg from 'pg'
import { parserFor } from './value-readers.ts'

type Types = typeof pg.types
type TypeId = Parameters<Types['getTypeParser']>[0]

const BYTEA: TypeId = 17
// The arrays are not in the list of pg's types.
const BYTEA_ARRAY = 1001 as TypeId
const TEXT_ARRAY = 1009 as TypeId

type Nested = readonly (string | null | Nested)[]

/**
 * The parsers of `pg.types`, for the configuration of a client, with malformed values of bytea refused, and with those that
 * stand for a reader of bytes ({@link parserFor}). (A parser that
 * is set on the client itself takes 12 KB, since pg keeps those in an array by their number.)
 *
 * @param malformed creates the error of the statement
 */
export function guardedTypes(types: Types, malformed: () => Error): pg.CustomTypesConfig {
  const guard = (id: TypeId, isWellFormed: (value: string) => boolean) => (value: string) => {
    if (!isWellFormed(value)) throw malformed()
    return types.getTypeParser(id, 'text')(value)
  }
  const bytea = guard(BYTEA, isBytea)
  const array = guard(BYTEA_ARRAY, (value) => isByteaArray(types.getTypeParser(TEXT_ARRAY, 'text')(value)))
  return {
    getTypeParser: (id: TypeId, format?: 'text' | 'binary') => {
      if (format !== 'binary' && id === BYTEA) return bytea
      if (format !== 'binary' && id === BYTEA_ARRAY) return array
      const registered = types.getTypeParser(id, format as 'text')
      return format === 'binary' ? registered : parserFor(id, registered)
    },
  }
}

/** Whether a text has one of the two forms of `bytea_output`. */
export function isBytea(value: string): boolean {
  if (value.startsWith('\\x')) return true
  for (let at = value.indexOf('\\'); at !== -1; at = value.indexOf('\\', at)) {
    if (value[at + 1] === '\\') at += 2
    else if (/^[0-7]{3}$/.test(value.slice(at + 1, at + 4))) at += 4
    else return false
  }
  return true
}

function isByteaArray(values: Nested): boolean {
  return values.every((value) =>
    value === null ? true : typeof value === 'string' ? isBytea(value) : isByteaArray(value),
  )
}
