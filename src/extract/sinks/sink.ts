import type { RecordBatch } from 'apache-arrow'

/** Where a sink's bytes go; resolves when they may be followed by more. */
export type Output = (bytes: Uint8Array) => Promise<void>

/** Turns record batches into the bytes of one format. `write` resolves when the next batch is welcome. */
export interface Sink {
  write(batch: RecordBatch): Promise<void>
  /** Writes what is left and what ends the format. */
  close(): Promise<void>
}
