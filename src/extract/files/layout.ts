/** The folder of an extract's files: `<to>/<source>/<schema>.<table>/extract_date=YYYY-MM-DD/`. */

import { createHash } from 'node:crypto'
import { join } from 'node:path'

/**
 * Longer names (in bytes) are cut, and end with a hash that keeps them apart. A file system takes 255 bytes, and the
 * folder of a table has two names and a point.
 */
const MOST_BYTES = 120

/**
 * A name as one part of a path: letters, digits, `_` and `-` of any script stay, and every other character becomes
 * `%XX` for each byte of UTF-8. No two names become the same part, and none becomes `.`, `..` or an absolute path.
 */
export function pathPart(name: string): string {
  const safe = name.replaceAll(/[^\p{L}\p{M}\p{N}_ -]|^[_ ]|[ ]$/gu, (character) =>
    [...Buffer.from(character)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join(''),
  )
  if (Buffer.byteLength(safe) <= MOST_BYTES) return safe
  const hash = createHash('sha256').update(name).digest('hex').slice(0, 16)
  const characters = [...safe]
  while (Buffer.byteLength(characters.join('')) > MOST_BYTES - hash.length - 1) characters.pop()
  return `${characters.join('')}%${hash}`
}

export function extractFolder(place: {
  readonly to: string
  readonly source: string
  readonly schema: string
  readonly table: string
  readonly extractedAt: Date
}): string {
  return join(
    place.to,
    pathPart(place.source),
    `${pathPart(place.schema)}.${pathPart(place.table)}`,
    `extract_date=${place.extractedAt.toISOString().slice(0, 10)}`,
  )
}
