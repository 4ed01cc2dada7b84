import type { SecretReader } from './reader.ts'

/** The reader of a remote store whose code, and with it the SDK of its vendor, is loaded at its first use. */
export function lazyReader(
  placeOf: SecretReader['placeOf'],
  load: () => Promise<SecretReader>,
  { isWritable = true }: { readonly isWritable?: boolean } = {},
): SecretReader {
  let loading: Promise<SecretReader> | undefined
  const reader = (): Promise<SecretReader> => {
    loading ??= load()
    return loading
  }
  return {
    distance: 'remote',
    placeOf,
    read: async (path, signal) => (await reader()).read(path, signal),
    others: async (path, current, signal) => (await (await reader()).others?.(path, current, signal)) ?? [],
    write: isWritable
      ? async (path, fields, options) => {
          const { write } = await reader()
          if (write === undefined) throw new Error('The reader of the store has no write.')
          return write(path, fields, options)
        }
      : undefined,
    close: () => void loading?.then((loaded) => loaded.close?.()).catch(() => undefined),
  }
}
