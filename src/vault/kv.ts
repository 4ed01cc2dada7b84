/** The key-value engine of Vault, versions 1 and 2: https://developer.hashicorp.com/vault/api-docs/secret/kv */

import { PoolsmithError } from '../errors.ts'
import { isRecord } from './https.ts'
import { StoredSecret } from './stored-secret.ts'
import type { Vault } from './vault.ts'

interface Mount {
  readonly path: string
  readonly version: 1 | 2
}

/** Secrets of the key-value engines of one Vault, by mount and path: `secret/sales`. */
export class KeyValues {
  readonly #vault: Vault
  readonly #version: 1 | 2 | undefined
  readonly #mounts: Mount[] = []

  /** @param version where it is known, so that Vault need not be asked */
  constructor(vault: Vault, version: 1 | 2 | undefined) {
    this.#vault = vault
    this.#version = version
  }

  /** @throws PoolsmithError STORE_…, SECRET_MISSING, SECRET_DELETED */
  async read(path: string, signal: AbortSignal): Promise<StoredSecret> {
    return this.#read(path, await this.#mountOf(path, signal), '', signal)
  }

  /** The version before `later`; undefined where there is none. */
  async before(path: string, later: StoredSecret, signal: AbortSignal): Promise<StoredSecret | undefined> {
    const version = Number(later.version) - 1
    if (!(version >= 1)) return undefined
    try {
      return await this.#read(path, await this.#mountOf(path, signal), `?version=${version}`, signal)
    } catch (error) {
      const isGone = error instanceof PoolsmithError && ['SECRET_MISSING', 'SECRET_DELETED'].includes(error.code)
      if (isGone) return undefined
      throw error
    }
  }

  async #read(path: string, mount: Mount, query: string, signal: AbortSignal): Promise<StoredSecret> {
    const key = path.slice(mount.path.length).split('/').map(encodeURIComponent).join('/')
    const at = `${mount.path}${mount.version === 2 ? 'data/' : ''}${key}${query}`
    const { body } = await this.#vault.query({ step: `read ${path}`, path: at }, signal)
    const { data } = body
    if (mount.version === 1 && isRecord(data)) return new StoredSecret(data)
    if (mount.version === 2 && isRecord(data) && isRecord(data.data)) {
      const { metadata } = data
      return new StoredSecret(data.data, isRecord(metadata) ? String(metadata.version) : undefined)
    }
    throw new PoolsmithError(`${this.#vault.name} gave no secret of the key-value engine for ${path}.`, {
      code: 'STORE_ANSWER_UNUSABLE',
      phase: 'credential',
      hint: `Check that ${mount.path} is a key-value engine, and vault_kv_version.`,
    })
  }

  /** The mount that holds a path, and its version. */
  async #mountOf(path: string, signal: AbortSignal): Promise<Mount> {
    if (this.#version !== undefined) return { path: path.slice(0, path.indexOf('/') + 1), version: this.#version }
    const known = this.#mounts.find((mount) => path.startsWith(mount.path))
    if (known !== undefined) return known
    const mount = await this.#askMount(path, signal)
    this.#mounts.push(mount)
    return mount
  }

  async #askMount(path: string, signal: AbortSignal): Promise<Mount> {
    const query = { step: `find the engine of ${path}`, path: `sys/internal/ui/mounts/${path}` }
    const { body } = await this.#vault.query(query, signal).catch((error: unknown) => {
      if (!(error instanceof PoolsmithError) || error.details.status !== 403) throw error
      throw error.with({
        hint: 'Check the mount and the token. Where the policy forbids this request alone, set vault_kv_version to 1 or 2.',
      })
    })
    const data = isRecord(body.data) ? body.data : {}
    const { path: at, options } = data
    const mount = typeof at === 'string' && path.startsWith(at) ? at : path.slice(0, path.indexOf('/') + 1)
    return { path: mount, version: isRecord(options) && options.version === '2' ? 2 : 1 }
  }
}
