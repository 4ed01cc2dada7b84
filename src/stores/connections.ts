import type { StoreOptions } from './options.ts'
import type { SecretReader } from './reader.ts'

/** Loads the reader of connections by their ids, when a reference names one. */
export function connectionsIn(options: StoreOptions): () => Promise<SecretReader> {
  return async () => (await import('./connection-reader.ts')).connectionReader(options)
}
