/** Reads a Parquet file back with a library other than the writer's; every value is as stored. */

import { readFile } from 'node:fs/promises'
import { type FileMetaData, parquetMetadata, parquetReadObjects, parquetSchema, type SchemaTree } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'

export interface ParquetContent {
  readonly metadata: FileMetaData
  readonly columns: readonly string[]
  /** Integers as they are (bigint for 64 bits), decimals unscaled as bigint, dates in days, text as string. */
  readonly rows: readonly Readonly<Record<string, unknown>>[]
}

export async function readParquetFile(path: string): Promise<ParquetContent> {
  const buffer = await readFile(path)
  const file = buffer.buffer.slice(buffer.byteOffset, buffer.byteOffset + buffer.length) as ArrayBuffer
  const metadata = parquetMetadata(file)
  const plain = structuredClone(metadata)
  const columns = parquetSchema(metadata).children
  const decimals = columns.filter(holdsDecimal).map((column) => column.element.name)
  for (const element of plain.schema) {
    if (element.converted_type !== 'DECIMAL') continue
    delete element.converted_type
    delete element.logical_type
  }
  const rows = await parquetReadObjects({
    file,
    metadata: plain,
    compressors,
    utf8: false,
    parsers: {
      timestampFromMicroseconds: (micros: bigint) => micros,
      dateFromDays: (days: number) => days,
    },
  })
  for (const row of rows) {
    for (const name of decimals) row[name] = deepBigInt(row[name])
  }
  return { metadata, columns: columns.map((column) => column.element.name), rows }
}

function holdsDecimal(node: SchemaTree): boolean {
  return node.element.converted_type === 'DECIMAL' || node.children.some(holdsDecimal)
}

function deepBigInt(value: unknown): unknown {
  if (value === null || value === undefined) return value
  return Array.isArray(value) ? value.map(deepBigInt) : toBigInt(value)
}

/** An integer of any width; bytes are two's complement, highest first. */
function toBigInt(value: unknown): bigint {
  if (typeof value === 'bigint') return value
  if (typeof value === 'number') return BigInt(value)
  if (!(value instanceof Uint8Array)) throw new TypeError(`No integer: ${String(value)}`)
  return BigInt.asIntN(value.length * 8, BigInt(`0x${Buffer.from(value).toString('hex')}`))
}
