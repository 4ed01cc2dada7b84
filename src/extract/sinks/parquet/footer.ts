/** The end of a Parquet file, which describes its content (parquet.thrift, FileMetaData). */

import { packageVersion, versionOf } from '../../../version.ts'
import { type ChunkMetadata, ENCODING } from './chunk.ts'
import { type Leaf, writeSchema } from './schema.ts'
import { ThriftWriter } from './thrift.ts'

const VERSION = 2
/**
 * In the form that readers parse (parquet.thrift, FileMetaData.created_by), to tell files with a known fault apart. The
 * build is that of Node, which compresses the pages.
 */
function createdBy(): string {
  return `poolsmith version ${versionOf(packageVersion) || '0.0.0'} (build node-${process.version})`
}

export interface RowGroup {
  readonly rows: number
  readonly chunks: readonly ChunkMetadata[]
}

export function footerOf(leaves: readonly Leaf[], groups: readonly RowGroup[], codecId: number): Uint8Array {
  const writer = new ThriftWriter()
  writer.i32(1, VERSION)
  writeSchema(writer, leaves)
  writer.i64(
    3,
    groups.reduce((sum, group) => sum + group.rows, 0),
  )
  writer.structList(4, groups, (group) => {
    writer.structList(1, group.chunks, (chunk) => writeChunk(writer, chunk, codecId))
    writer.i64(
      2,
      group.chunks.reduce((sum, chunk) => sum + chunk.uncompressed, 0),
    )
    writer.i64(3, group.rows)
    writer.i64(5, group.chunks[0]?.offset ?? 0)
    writer.i64(
      6,
      group.chunks.reduce((sum, chunk) => sum + chunk.compressed, 0),
    )
  })
  writer.text(6, createdBy())
  // The order that the type defines, for every leaf: without it readers do not use the bounds.
  writer.structList(7, leaves, () => writer.struct(1, () => undefined))
  const metadata = writer.finish()
  const end = new Uint8Array(metadata.length + 8)
  end.set(metadata)
  new DataView(end.buffer).setUint32(metadata.length, metadata.length, true)
  end.set(MAGIC, metadata.length + 4)
  return end
}

export const MAGIC = Buffer.from('PAR1')

function writeChunk(writer: ThriftWriter, chunk: ChunkMetadata, codecId: number): void {
  const { leaf, offset, dictionaryBytes, bounds } = chunk
  const isDictionary = dictionaryBytes > 0
  writer.i64(2, 0)
  writer.struct(3, () => {
    writer.i32(1, leaf.type.physical)
    writer.i32List(
      2,
      isDictionary ? [ENCODING.PLAIN, ENCODING.RLE, ENCODING.RLE_DICTIONARY] : [ENCODING.PLAIN, ENCODING.RLE],
    )
    writer.textList(3, leaf.path)
    writer.i32(4, codecId)
    writer.i64(5, chunk.values)
    writer.i64(6, chunk.uncompressed)
    writer.i64(7, chunk.compressed)
    writer.i64(9, offset + dictionaryBytes)
    if (isDictionary) writer.i64(11, offset)
    writer.struct(12, () => {
      writer.i64(3, chunk.nulls)
      if (bounds === undefined) return
      const { min, max, isMinExact, isMaxExact } = bounds
      if (max !== undefined) writer.binary(5, max)
      writer.binary(6, min)
      if (max !== undefined) writer.bool(7, isMaxExact)
      writer.bool(8, isMinExact)
    })
  })
}
