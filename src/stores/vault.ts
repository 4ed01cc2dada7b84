import type { VaultContext } from '../vault/context.ts'
import type { VaultOptions } from '../vault/fields.ts'
import { KeyValues } from '../vault/kv.ts'
import { Vault } from '../vault/vault.ts'
import type { SecretReader } from './reader.ts'

/**
 * The key-value engines of Vault or OpenBao. After a refused login the version before the present one is tried.
 *
 * @param mount where the one engine is mounted, if its version is an option too
 */
export function vaultReader(options: VaultOptions, context: VaultContext, mount?: string): SecretReader {
  const vault = new Vault(options, context)
  const { vault_kv_version: version } = options
  const values = new KeyValues(vault, version === 1 || version === 2 ? version : undefined, mount)
  return {
    distance: 'remote',
    placeOf: (path) => `The secret ${path} in ${vault.name}`,
    read: (path, signal) => values.read(path, signal),
    write: (path, fields, options) => values.write(path, fields, options),
    async others(path, current, signal) {
      const before = await values.before(path, current, signal)
      return before === undefined ? [] : [before]
    },
    close: () => vault.close(),
  }
}
