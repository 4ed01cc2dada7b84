import type { RecordBatch } from 'apache-arrow'

/** Where a sink's bytes go, part after part; resolves when they may be followed by more. */
export type Output = (parts: readonly Uint8Array[]) => Promise<void>

/**
 * Turns record batches into the bytes of one format. `write` resolves when the next batch is welcome.
 * Disposing gives back what it holds, finished or not.
 */
export interface Sink extends Disposable {
  write(batch: RecordBatch): Promise<void>
  /** Writes what is left and what ends the format. */
  close(): Promise<void>
}
