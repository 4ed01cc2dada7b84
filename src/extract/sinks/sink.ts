import type { RecordBatch } from '../arrow-types.ts'

/** Takes the next bytes of a sink; resolves when more may follow. */
export type Output = (parts: readonly Uint8Array[]) => Promise<void>

/**
 * Turns record batches into the bytes of one format. `write` resolves when the next batch may follow. Disposing frees
 * what the sink holds, whether it is closed or not.
 */
export interface Sink extends Disposable {
  write(batch: RecordBatch): Promise<void>
  /** Writes the rest, and the end of the format. */
  close(): Promise<void>
}
