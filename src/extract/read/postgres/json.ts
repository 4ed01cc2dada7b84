/**
 * JSON Lines out of the binary COPY format, byte for byte as PostgreSQL's row_to_json writes them, which takes the
 * server three times as long as everything else about a row. The server writes the JSON of types that are not written
 * here.
 */

import type { CopyConsumer } from '../../../drivers/postgres/copy.ts'
import { putBytes, type Viewed, viewed } from '../columns/copy-bytes.ts'
import type { Lines } from '../table.ts'
import { LineBlocks } from '../text/line-blocks.ts'
import { malformed, rowsBegin, TRAILER } from './batches.ts'
import type { Catalogue, CatalogueType } from './catalogue.ts'
import { JSON_TEXT, type JsonWriter, TEXT, WRITERS } from './json-values.ts'
import { quoteIdentifier } from './sql.ts'

export interface JsonColumn {
  readonly name: string
  /** In the select list. */
  readonly expression: string
  readonly writer: JsonWriter
}

/** @param type the base type, where the column's type is a domain */
export function jsonColumn(name: string, type: CatalogueType): JsonColumn {
  const quoted = quoteIdentifier(name)
  const writer = WRITERS.get(type.oid)
  if (writer !== undefined) return { name, expression: quoted, writer }
  return serverJsonColumn(name, quoted)
}

/** A column whose JSON the server writes. */
export function serverJsonColumn(name: string, expression: string): JsonColumn {
  return { name, expression: `pg_catalog.to_json(${expression})::pg_catalog.text`, writer: JSON_TEXT }
}

/** A note for readers of the JSON of this type; undefined where it is exact. */
export function jsonNote({ types }: Pick<Catalogue, 'types'>, type: CatalogueType): string | undefined {
  if (type.jsonCast) {
    return `${type.name}: JSON by the cast of the type, which may leave digits or parts of the value out; asText is exact`
  }
  for (const oid of [type.baseType, type.element, ...type.attributes]) {
    const inner = types.get(oid)
    const note = inner === undefined ? undefined : jsonNote({ types }, inner)
    if (note !== undefined) return note
  }
  return undefined
}

/** A column whose expression gives text. */
export function jsonTextColumn(name: string, expression: string): JsonColumn {
  return { name, expression, writer: TEXT }
}

const NULL = viewed(Buffer.from('null'))
const OPENING_BRACE = 0x7b

export class JsonLines implements CopyConsumer<Lines> {
  readonly #writers: readonly JsonWriter[]
  /** Before each value: a brace or a comma, and the name. */
  readonly #names: readonly Viewed[]
  readonly #suffix: Viewed
  readonly #blocks = new LineBlocks()
  #chunk: Buffer | undefined
  #from: Viewed = NULL
  #begun = false
  #ended = false

  /** @param suffix closes the object and ends the line */
  constructor(columns: readonly JsonColumn[], suffix: string) {
    this.#writers = columns.map(({ writer }) => writer)
    this.#names = columns.map(({ name }, index) =>
      viewed(Buffer.from(`${index === 0 ? '{' : ','}${JSON.stringify(name)}:`)),
    )
    this.#suffix = viewed(Buffer.from(suffix))
  }

  data(chunk: Buffer, start: number, end: number): void {
    if (chunk !== this.#chunk) {
      this.#chunk = chunk
      this.#from = viewed(chunk)
    }
    let at = start
    if (!this.#begun) {
      at = rowsBegin(chunk, start, end)
      this.#begun = true
    }
    while (at < end) at = this.#row(at, end)
  }

  #row(start: number, end: number): number {
    const from = this.#from
    const blocks = this.#blocks
    const count = this.#writers.length
    const given = from.view.getInt16(start)
    let at = start + 2
    if (given === TRAILER) {
      this.#ended = true
      return at
    }
    if (given !== count) throw malformed(`a row has ${given} fields where ${count} were asked for`)
    for (let column = 0; column < count; column += 1) {
      const name = this.#names[column] as Viewed
      const length = at + 4 > end ? Number.POSITIVE_INFINITY : from.view.getInt32(at)
      at += 4
      if (at + length > end) throw malformed('a row is longer than its message')
      if (length < 0) {
        blocks.reserve(name.buffer.length + NULL.buffer.length)
        this.#put(name)
        this.#put(NULL)
        continue
      }
      const { room, write } = this.#writers[column] as JsonWriter
      blocks.reserve(name.buffer.length + room(from, at, at + length))
      this.#put(name)
      blocks.used = write(from, at, at + length, blocks.block, blocks.used)
      at += length
    }
    blocks.reserve(1 + this.#suffix.buffer.length)
    if (count === 0) {
      blocks.block.buffer[blocks.used] = OPENING_BRACE
      blocks.used += 1
    }
    this.#put(this.#suffix)
    blocks.endLine()
    return at
  }

  #put(bytes: Viewed): void {
    this.#blocks.used = putBytes(bytes, this.#blocks.block, this.#blocks.used)
  }

  flush(): Lines[] {
    this.#chunk = undefined
    return this.#blocks.take()
  }

  end(): Lines[] {
    if (!this.#ended) throw malformed('it ended without its trailer')
    return this.#blocks.end()
  }

  reuse(lines: Lines): void {
    this.#blocks.reuse(lines)
  }
}
