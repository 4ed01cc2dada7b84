import type { Secret } from '../secret.ts'
import type { StoredSecret } from '../vault/stored-secret.ts'

/** A place that secrets are read from. One object for each kind of store that the references of a connection name. */
export interface SecretReader {
  /** `local`: as cheap as a file, and read again every second. `remote`: kept for `secrets_ttl`. */
  readonly distance: 'local' | 'remote'
  /** How errors name the place of a secret: `secret/sales in Vault vault.example.com:8200`. */
  placeOf(path: string): string
  /** @throws PoolsmithError STORE_…, SECRET_… */
  read(path: string, signal: AbortSignal): Promise<StoredSecret>
  /**
   * The other versions of a secret that may be the right one while it is rotated, in the order in which they are tried
   * after `current` was refused.
   */
  others?(path: string, current: StoredSecret, signal: AbortSignal): Promise<readonly StoredSecret[]>
  /**
   * Stores a secret as its newest version. What a text cannot carry stays as it is: a binary field, an object.
   *
   * @param fields all its fields that are texts; the one name '' stands for a secret that is a text without fields
   * @throws PoolsmithError SECRET_CONFLICT when the store has another version by now, STORE_…, SECRET_UNUSABLE
   */
  write?(path: string, fields: ReadonlyMap<string, Secret>, options: WriteOptions): Promise<StoredSecret>
  close?(): void
}

export interface WriteOptions {
  /** The version that was read before; undefined: the secret must not exist yet. */
  readonly replaces: StoredSecret | undefined
  readonly signal: AbortSignal
}
