/**
 * Values of bytea are checked before pg's parser reads them. That parser loops for ever at a backslash that is followed
 * neither by another one nor by three octal digits, which no genuine server sends (PostgreSQL documentation, "Binary Data
 * Types").
 */

import type pg from 'pg'

type Types = typeof pg.types
type TypeId = Parameters<Types['getTypeParser']>[0]

const BYTEA: TypeId = 17
// The arrays are not in the list of pg's types.
const BYTEA_ARRAY = 1001 as TypeId
const TEXT_ARRAY = 1009 as TypeId

type Nested = readonly (string | null | Nested)[]

/**
 * Makes the client refuse malformed values. Well-formed ones are read by the parser that is set in `pg.types` at that time.
 *
 * @param malformed creates the error of the statement
 */
export function guardBytea(client: pg.Client, types: Types, malformed: () => Error): void {
  const guard = (id: TypeId, isWellFormed: (value: string) => boolean): void => {
    client.setTypeParser(id, 'text', (value: string) => {
      if (!isWellFormed(value)) throw malformed()
      return types.getTypeParser(id, 'text')(value)
    })
  }
  guard(BYTEA, isBytea)
  guard(BYTEA_ARRAY, (value) => isByteaArray(types.getTypeParser(TEXT_ARRAY, 'text')(value)))
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
