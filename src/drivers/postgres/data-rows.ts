/**
 * Reads rows without pg's parser, which spends most of its time on calls for each value: a select of many short values
 * takes two thirds of the time here (PostgreSQL documentation, "Message Formats", DataRow).
 */

import { textIn, uint16At } from './bytes-in.ts'
import { NotPostgres } from './messages.ts'
import type { ValueReader } from './value-readers.ts'

/** A row in the form that pg-protocol gives it. */
export interface RowMessage {
  readonly name: 'dataRow'
  readonly length: number
  readonly fieldCount: number
  /** Texts and NULLs, and what readers have read. */
  readonly fields: unknown[]
}

/** The length of a message counts itself. */
const LENGTH_BYTES = 4
const NULL = 0xffff_ffff

/**
 * Reads the row whose body is `chunk[start, end)`.
 *
 * @param columns the number of values that it must have, where that is known
 * @param readers for the columns that are read from their bytes
 * @throws NotPostgres when a length or the count does not fit
 */
export function rowIn(
  chunk: Buffer,
  start: number,
  end: number,
  columns: number | undefined,
  readers?: readonly (ValueReader | undefined)[],
): RowMessage {
  const fieldCount = uint16At(chunk, start)
  if (columns !== undefined && columns !== fieldCount) {
    throw wrongCount(fieldCount, columns)
  }
  const fields = new Array<unknown>(fieldCount)
  let offset = start + 2
  for (let index = 0; index < fieldCount; index++) {
    const length = uint16At(chunk, offset) * 0x1_0000 + uint16At(chunk, offset + 2)
    offset += 4
    if (length === NULL) {
      fields[index] = null
    } else {
      const from = offset
      offset += length
      // A length that lies is refused below; nothing is read beyond the message meanwhile.
      const read = offset <= end ? readers?.[index]?.(chunk, from, offset) : undefined
      fields[index] = read === undefined ? textIn(chunk, from, offset) : read
    }
  }
  if (offset !== end) throw wrongLength()
  return { name: 'dataRow', length: end - start + LENGTH_BYTES, fieldCount, fields }
}

export function wrongCount(found: number, described: number): NotPostgres {
  return new NotPostgres(`a row of ${found} values where ${described} are described`)
}

export function wrongLength(): NotPostgres {
  return new NotPostgres('a row whose values do not agree with its length')
}
