/**
 * Writes Parquet. Every column of a batch becomes a page, which is encoded here and compressed on Node's thread pool
 * while the next batch is being read; pages wait in memory, compressed, until their row group is complete.
 *
 * The writer is our own because others cost several times the time and memory: writers in JavaScript take a row at a
 * time, and the writer in WebAssembly fills a second heap through a serialisation. Most of Arrow's buffers are in
 * Parquet's PLAIN encoding already.
 */

import type { RecordBatch, Schema } from 'apache-arrow'
import { loadPackage } from '../../../optional-package.ts'
import type { FormatSettings } from '../format.ts'
import type { Output, Sink } from '../sink.ts'
import { ColumnChunk, ColumnRoom } from './chunk.ts'
import { type Codec, codecFor } from './compression.ts'
import { footerOf, MAGIC, type RowGroup } from './footer.ts'
import { type Leaf, leavesOf } from './schema.ts'

/** Encoded, before compression. */
const DEFAULT_ROW_GROUP_BYTES = 64 << 20
/** About this many bytes are written, and hashed, at once. */
const BLOCK_BYTES = 1 << 20

export async function openParquetSink(schema: Schema, output: Output, settings: FormatSettings): Promise<Sink> {
  const arrow = await loadPackage('apache-arrow', () => import('apache-arrow'), 'format=parquet')
  const codec = codecFor(settings.compression)
  return new ParquetSink(leavesOf(arrow, schema), codec, settings.rowGroupBytes ?? DEFAULT_ROW_GROUP_BYTES, output)
}

class ParquetSink implements Sink {
  readonly #leaves: readonly Leaf[]
  readonly #rooms: readonly ColumnRoom[]
  readonly #codec: Codec
  readonly #rowGroupBytes: number
  readonly #output: Output
  readonly #groups: RowGroup[] = []
  #chunks: readonly ColumnChunk[]
  #rows = 0
  #bytes = 0
  #offset = 0
  /** The compression of the last batch, which runs while the next one is read. */
  #compressing: Promise<unknown> = Promise.resolve()

  constructor(leaves: readonly Leaf[], codec: Codec, rowGroupBytes: number, output: Output) {
    this.#leaves = leaves
    this.#rooms = leaves.map(() => new ColumnRoom())
    this.#codec = codec
    this.#rowGroupBytes = rowGroupBytes
    this.#output = output
    this.#chunks = this.#newChunks()
  }

  #newChunks(): readonly ColumnChunk[] {
    return this.#leaves.map((leaf, index) => new ColumnChunk(leaf, this.#codec, this.#rooms[index] as ColumnRoom))
  }

  async write(batch: RecordBatch): Promise<void> {
    await this.#compressing
    if (batch.numRows === 0) return
    const added = this.#chunks.map((chunk, index) => {
      const data = batch.data.children[index]
      if (data === undefined) throw new TypeError(`The batch has no column ${index}.`)
      return chunk.add(data)
    })
    this.#rows += batch.numRows
    for (const { bytes } of added) this.#bytes += bytes
    this.#compressing = Promise.all(added.map(({ done }) => done))
    // The next call awaits it and gets its error. There may be none before the error occurs.
    this.#compressing.catch(() => undefined)
    if (this.#bytes >= this.#rowGroupBytes) await this.#endGroup()
  }

  async #endGroup(): Promise<void> {
    await this.#compressing
    if (this.#rows === 0) return
    if (this.#offset === 0) await this.#put([MAGIC])
    const chunks = []
    let offset = this.#offset
    const parts: Uint8Array[] = []
    for (const chunk of this.#chunks) {
      const taken = chunk.take(offset)
      chunks.push(taken.metadata)
      parts.push(...taken.parts)
      offset += taken.metadata.compressed
    }
    this.#groups.push({ rows: this.#rows, chunks })
    this.#chunks = this.#newChunks()
    this.#rows = 0
    this.#bytes = 0
    await this.#put(parts)
    this.#codec.release(parts)
  }

  async #put(parts: readonly Uint8Array[]): Promise<void> {
    let block: Uint8Array[] = []
    let size = 0
    const flush = async (): Promise<void> => {
      if (size > 0) await this.#output(block)
      this.#offset += size
      block = []
      size = 0
    }
    for (const part of parts) {
      if (size + part.length > BLOCK_BYTES) await flush()
      block.push(part)
      size += part.length
    }
    await flush()
  }

  async close(): Promise<void> {
    await this.#endGroup()
    if (this.#offset === 0) await this.#put([MAGIC])
    await this.#put([footerOf(this.#leaves, this.#groups, this.#codec.id)])
  }

  [Symbol.dispose](): void {
    this.#codec[Symbol.dispose]()
  }
}
