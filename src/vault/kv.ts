/** The key-value engine of Vault, versions 1 and 2: https://developer.hashicorp.com/vault/api-docs/secret/kv */

import { PoolsmithError } from '../errors.ts'
import type { Secret } from '../secret.ts'
import { CONFLICT_HINT } from './errors.ts'
import { isRecord } from './json.ts'
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

  /**
   * @param version where it is known, so that Vault need not be asked
   * @param mount where the engine is mounted, if `version` is known too; undefined: the first part of each path
   */
  constructor(vault: Vault, version: 1 | 2 | undefined, mount?: string) {
    this.#vault = vault
    this.#version = version
    if (version !== undefined && mount !== undefined) this.#mounts.push({ path: `${mount}/`, version })
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

  /**
   * Writes a secret. Engine 2 compares the version by itself (check-and-set). Engine 1 cannot: the secret is read and
   * compared before it is written, so a change between the two is lost.
   *
   * @param replaces undefined: there is none yet, or its last version was deleted
   * @throws PoolsmithError SECRET_CONFLICT, STORE_…
   */
  async write(
    path: string,
    texts: ReadonlyMap<string, Secret>,
    { replaces, signal }: { readonly replaces: StoredSecret | undefined; readonly signal: AbortSignal },
  ): Promise<StoredSecret> {
    const mount = await this.#mountOf(path, signal)
    const data = (replaces ?? new StoredSecret({})).followedBy(texts)
    const query = { step: `write ${path}`, path: addressOf(path, mount), secrets: [...texts.values()] }
    if (mount.version === 1) {
      const present = await this.#present(path, mount, signal)
      if (present === undefined ? replaces !== undefined : !present.equals(replaces))
        throw this.#conflict(path, replaces)
      await this.#vault.query({ ...query, body: data }, signal)
      return new StoredSecret(data)
    }
    const send = async (cas: number): Promise<StoredSecret> => {
      const { body } = await this.#vault.query({ ...query, body: { data, options: { cas } } }, signal)
      return new StoredSecret(data, isRecord(body.data) ? String(body.data.version) : undefined)
    }
    try {
      return await send(Number(replaces?.version ?? 0))
    } catch (error) {
      const isConflict = error instanceof PoolsmithError && error.code === 'SECRET_CONFLICT'
      const deleted = isConflict && !replaces ? await this.#deletedVersion(path, mount, signal) : undefined
      if (deleted === undefined) throw error
      return send(deleted)
    }
  }

  async #present(path: string, mount: Mount, signal: AbortSignal): Promise<StoredSecret | undefined> {
    try {
      return await this.#read(path, mount, '', signal)
    } catch (error) {
      if (error instanceof PoolsmithError && error.code === 'SECRET_MISSING') return undefined
      throw error
    }
  }

  /** The last version of a secret, if it was deleted: a write has to name it. */
  async #deletedVersion(path: string, mount: Mount, signal: AbortSignal): Promise<number | undefined> {
    try {
      await this.#read(path, mount, '', signal)
      return undefined
    } catch (error) {
      if (error instanceof PoolsmithError && error.code === 'SECRET_DELETED') return Number(error.details.version)
      throw error
    }
  }

  #conflict(path: string, replaces: StoredSecret | undefined): PoolsmithError {
    const what = replaces === undefined ? 'it exists already' : 'it is not as it was read'
    return new PoolsmithError(`${this.#vault.name} could not write ${path}: ${what}.`, {
      code: 'SECRET_CONFLICT',
      phase: 'credential',
      hint: CONFLICT_HINT,
      details: { path },
    })
  }

  async #read(path: string, mount: Mount, query: string, signal: AbortSignal): Promise<StoredSecret> {
    const at = `${addressOf(path, mount)}${query}`
    const { body } = await this.#vault.query({ step: `read ${path}`, path: at }, signal).catch((error: unknown) => {
      throw error instanceof PoolsmithError && error.code === 'SECRET_MISSING' ? withoutData(error, path, mount) : error
    })
    const { data } = body
    if (mount.version === 1 && isRecord(data)) return new StoredSecret(data)
    if (mount.version === 2 && isRecord(data) && isRecord(data.data)) {
      const metadata = isRecord(data.metadata) ? data.metadata : {}
      return new StoredSecret(data.data, String(metadata.version), Date.parse(String(metadata.created_time)))
    }
    throw new PoolsmithError(`${this.#vault.name} gave no secret of the key-value engine for ${path}.`, {
      code: 'STORE_ANSWER_UNUSABLE',
      phase: 'credential',
      hint: `Check that ${mount.path} is a key-value engine, and vault_kv_version.`,
    })
  }

  /** The mount that holds a path, and its version. */
  async #mountOf(path: string, signal: AbortSignal): Promise<Mount> {
    const known = this.#mounts.find((mount) => path.startsWith(mount.path))
    if (known !== undefined) return known
    if (this.#version !== undefined) return { path: path.slice(0, path.indexOf('/') + 1), version: this.#version }
    const mount = await this.#askMount(path, signal)
    this.#mounts.push(mount)
    return mount
  }

  async #askMount(path: string, signal: AbortSignal): Promise<Mount> {
    const query = { step: `find the engine of ${path}`, path: `sys/internal/ui/mounts/${path}` }
    const { body } = await this.#vault.query(query, signal).catch((error: unknown) => {
      // The error may be that of the login.
      const isOwn = error instanceof PoolsmithError && error.details.status === 403 && error.details.path === query.path
      if (!isOwn) throw error
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

/** The path of Vault's API has `data/` behind the mount, which people copy. */
function withoutData(error: PoolsmithError, path: string, mount: Mount): PoolsmithError {
  const key = path.slice(mount.path.length)
  if (mount.version !== 2 || !key.startsWith('data/')) return error
  return error.with({ hint: `Leave data/ out, which is added here: vault:${mount.path}${key.slice('data/'.length)}.` })
}

function addressOf(path: string, mount: Mount): string {
  const key = path.slice(mount.path.length).split('/').map(encodeURIComponent).join('/')
  return `${mount.path}${mount.version === 2 ? 'data/' : ''}${key}`
}
