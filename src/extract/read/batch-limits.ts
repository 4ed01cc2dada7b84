import type { ReadOptions } from './table.ts'

/** When a batch of rows is full. */
export interface BatchLimits {
  readonly rows: number
  /** Bytes as they come over the wire. */
  readonly bytes: number
}

const DEFAULT_ROWS = 32_768
const DEFAULT_BYTES = 8 << 20

export function batchLimits({ batchRows = DEFAULT_ROWS, batchBytes = DEFAULT_BYTES }: ReadOptions): BatchLimits {
  return { rows: batchRows, bytes: batchBytes }
}
