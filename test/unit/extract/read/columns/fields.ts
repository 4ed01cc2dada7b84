import type { Data } from 'apache-arrow'
import type { ColumnBuilder } from '../../../../../src/extract/read/columns/column.ts'

/** Feeds values as a binary copy has them, in runs of three, and finishes the column. */
export function build(builder: ColumnBuilder, values: readonly (Buffer | null)[]): Data {
  for (let start = 0; start < values.length; start += 3) {
    const run = values.slice(start, start + 3)
    // Something in front, so that positions are not all zero.
    const chunk = Buffer.concat([Buffer.alloc(5), ...run.map((value) => value ?? Buffer.alloc(0))])
    const fields = new Int32Array(run.length * 2)
    let at = 5
    for (const [index, value] of run.entries()) {
      fields[index * 2] = at
      fields[index * 2 + 1] = value === null ? -1 : value.length
      at += value?.length ?? 0
    }
    const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.length)
    builder.append(chunk, view, fields, 0, 2, run.length)
  }
  return builder.finish()
}

export function int64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(value)
  return bytes
}
