import { PoolsmithError } from '../errors.ts'
import type { Secret } from '../secret.ts'
import type { SecretReader, WriteOptions } from '../stores/reader.ts'
import type { StoredSecret } from '../vault/stored-secret.ts'

/** @throws PoolsmithError STORE_READ_ONLY, SECRET_CONFLICT, STORE_… */
export async function writeSecret(
  store: SecretReader,
  path: string,
  fields: ReadonlyMap<string, Secret>,
  options: WriteOptions,
): Promise<StoredSecret> {
  assertWritable(store, path)
  return store.write(path, fields, options)
}

/**
 * To be called before a login or a command of the site that a store which can only be read would make useless.
 *
 * @throws PoolsmithError STORE_READ_ONLY
 */
export function assertWritable(
  store: SecretReader,
  path: string,
): asserts store is SecretReader & Required<Pick<SecretReader, 'write'>> {
  if (store.write !== undefined) return
  throw new PoolsmithError(`${store.placeOf(path)} can only be read.`, {
    code: 'STORE_READ_ONLY',
    phase: 'credential',
    hint: 'Keep it in a store that can be written: an encrypted file, Vault, the API of Kubernetes, a store of a cloud.',
  })
}
