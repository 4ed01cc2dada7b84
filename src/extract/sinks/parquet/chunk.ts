/** A column chunk: its pages are compressed, and wait until the row group is written. */

import type { Data } from 'apache-arrow'
import type { Codec } from './compression.ts'
import { type PageContent, pageOf } from './page.ts'
import type { Leaf } from './schema.ts'
import { type Bounds, type Statistics, statisticsFor } from './statistics.ts'
import { ThriftWriter } from './thrift.ts'
import { plainValues } from './values.ts'

const DATA_PAGE = 0
const DICTIONARY_PAGE = 2
/** parquet.thrift, Encoding. */
export const ENCODING = { PLAIN: 0, RLE: 3, RLE_DICTIONARY: 8 } as const

/** The header, and the body in one or more pieces. */
type Page = readonly Uint8Array[]

/** The facts of a chunk for the footer. */
export interface ChunkMetadata {
  readonly leaf: Leaf
  readonly offset: number
  readonly dictionaryBytes: number
  readonly values: number
  readonly nulls: number
  readonly uncompressed: number
  readonly compressed: number
  readonly bounds: Bounds | undefined
}

/**
 * Memory that the chunks of one column share from row group to row group. A page is encoded where the last one lay,
 * which is compressed by then.
 */
export class ColumnRoom {
  #bytes: Uint8Array = new Uint8Array(0)

  readonly take = (bytes: number): Uint8Array => {
    if (bytes > this.#bytes.length) this.#bytes = Buffer.allocUnsafeSlow(bytes + (bytes >> 3))
    return this.#bytes.subarray(0, bytes)
  }
}

export class ColumnChunk {
  readonly #leaf: Leaf
  readonly #codec: Codec
  readonly #room: ColumnRoom
  readonly #statistics: Statistics
  readonly #pages: Page[] = []
  #dictionary: Page | undefined
  #values = 0
  #nulls = 0
  #uncompressed = 0

  constructor(leaf: Leaf, codec: Codec, room: ColumnRoom) {
    this.#leaf = leaf
    this.#codec = codec
    this.#room = room
    this.#statistics = statisticsFor(leaf.type)
  }

  /**
   * Adds the column of one batch. It is encoded when this returns; the promise is for its compression. The next call
   * must wait for that promise, because it encodes into the same memory.
   */
  add(data: Data): { readonly bytes: number; readonly done: Promise<void> } {
    const content = pageOf(this.#leaf, data, this.#room.take)
    this.#statistics.add(content.leaf)
    this.#values += content.count
    this.#nulls += content.nulls
    const slot = this.#pages.length
    this.#pages.push([])
    const isFirst = slot === 0 && this.#leaf.type.layout === 'dictionary'
    return { bytes: content.bytes.length, done: this.#compress(content, slot, isFirst ? content.leaf : undefined) }
  }

  async #compress(content: PageContent, slot: number, dictionaryOf: Data | undefined): Promise<void> {
    if (dictionaryOf !== undefined) this.#dictionary = await this.#dictionaryPage(dictionaryOf)
    const encoding = this.#leaf.type.layout === 'dictionary' ? ENCODING.RLE_DICTIONARY : ENCODING.PLAIN
    this.#pages[slot] = await this.#page(content.bytes, DATA_PAGE, (writer) =>
      writer.struct(5, () => {
        writer.i32(1, content.count)
        writer.i32(2, encoding)
        writer.i32(3, ENCODING.RLE)
        writer.i32(4, ENCODING.RLE)
      }),
    )
  }

  #dictionaryPage(data: Data): Promise<Page> {
    const labels = data.dictionary?.data[0] as Data
    const values = plainValues({ ...this.#leaf.type, layout: 'bytes' }, labels, (size) => new Uint8Array(size))
    return this.#page(values, DICTIONARY_PAGE, (writer) =>
      writer.struct(7, () => {
        writer.i32(1, labels.length)
        writer.i32(2, ENCODING.PLAIN)
      }),
    )
  }

  async #page(bytes: Uint8Array, type: number, kind: (writer: ThriftWriter) => void): Promise<Page> {
    const body = await this.#codec.compress(bytes)
    const writer = new ThriftWriter()
    writer.i32(1, type)
    writer.i32(2, bytes.length)
    writer.i32(3, lengthOf(body))
    kind(writer)
    const header = writer.finish()
    this.#uncompressed += header.length + bytes.length
    return [header, ...body]
  }

  /** Gives the pages in their order; `offset` is the place of the first one in the file. */
  take(offset: number): { readonly parts: Uint8Array[]; readonly metadata: ChunkMetadata } {
    const pages = this.#dictionary === undefined ? this.#pages : [this.#dictionary, ...this.#pages]
    const parts = pages.flat()
    const dictionary = this.#dictionary
    return {
      parts,
      metadata: {
        leaf: this.#leaf,
        offset,
        dictionaryBytes: dictionary === undefined ? 0 : lengthOf(dictionary),
        values: this.#values,
        nulls: this.#nulls,
        uncompressed: this.#uncompressed,
        compressed: lengthOf(parts),
        bounds: this.#leaf.isList ? undefined : this.#statistics.bounds(),
      },
    }
  }
}

function lengthOf(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, part) => sum + part.length, 0)
}
