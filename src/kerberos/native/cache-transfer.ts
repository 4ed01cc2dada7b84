import { randomUUID } from 'node:crypto'
import { PoolsmithError } from '../../errors.ts'
import { INITIATE, localStore } from './gssapi-credential.ts'
import { type CredentialStore, type NativeBuffer, OIDS } from './gssapi-functions.ts'
import { loadNativeGss } from './gssapi-load.ts'
import { Krb5 } from './krb5.ts'
import type { Out, Pointer } from './load.ts'

/** Whether a cache is in this process' own memory or keyrings, where no other process can open it. */
export function isPrivate(cache: string): boolean {
  return /^(MEMORY|KEYRING:(process|thread|persistent)):/.test(cache)
}

/** The whole content of a cache, for {@link unpackCache} in another process. It holds the keys of the tickets. */
export async function packCache(cache: string): Promise<Buffer> {
  const native = await loadNativeGss()
  const { functions } = native
  const facts = { cache }
  const minor: Out<number> = [0]
  const credential: Out<Pointer | null> = [null]
  const mechanisms = { count: 1, elements: [OIDS.krb5] }
  const store = localStore(cache)
  const acquired = functions.acquireCredFrom(minor, null, 0, mechanisms, INITIATE, store, credential, null, null)
  native.check('acquire', acquired, minor, facts)
  try {
    const packed: NativeBuffer = { length: 0, value: null }
    native.check('acquire', functions.exportCred(minor, credential[0], packed), minor, facts)
    return native.take(packed)
  } finally {
    functions.releaseCred([0], credential)
  }
}

/** Fills a cache, which is emptied first, with a content that {@link packCache} has packed. */
export async function unpackCache(packed: Uint8Array, into: string): Promise<void> {
  if (into.startsWith('MEMORY:')) return await unpackInMemory(packed, into)
  // GSSAPI would make a cache of its own choice in a collection of keyrings.
  using copy = await MemoryCache.make(packed)
  using krb5 = await Krb5.open()
  krb5.copy(copy.name, into)
}

async function unpackInMemory(packed: Uint8Array, cache: string): Promise<void> {
  const native = await loadNativeGss()
  const { functions } = native
  const facts = { cache }
  const minor: Out<number> = [0]
  const credential: Out<Pointer | null> = [null]
  const bytes = { length: packed.length, value: packed }
  native.check('acquire', functions.importCred(minor, bytes, credential), minor, facts)
  try {
    const store: CredentialStore = { count: 1, elements: [{ key: 'ccache', value: cache }] }
    const stored = functions.storeCredInto(minor, credential[0], INITIATE, OIDS.krb5, 1, 0, store, null, null)
    native.check('write-cache', stored, minor, facts)
  } finally {
    functions.releaseCred([0], credential)
  }
}

/** A cache in this process' memory, which ends when it is disposed of. */
export class MemoryCache implements Disposable {
  readonly name = `MEMORY:poolsmith-${randomUUID()}`
  readonly #krb5: Krb5

  private constructor(krb5: Krb5) {
    this.#krb5 = krb5
  }

  /** @param packed its content; default: none yet */
  static async make(packed?: Uint8Array): Promise<MemoryCache> {
    const cache = new MemoryCache(await Krb5.open())
    if (packed !== undefined) await unpackInMemory(packed, cache.name)
    return cache
  }

  [Symbol.dispose](): void {
    try {
      this.#krb5.destroy(this.name)
    } catch (error) {
      // It was never filled.
      if (!(error instanceof PoolsmithError)) throw error
    } finally {
      this.#krb5[Symbol.dispose]()
    }
  }
}
