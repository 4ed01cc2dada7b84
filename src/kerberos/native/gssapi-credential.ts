import { type KerberosFacts, realmIn } from '../facts.ts'
import type { GssCallOptions, GssCredentialHandle, GssCredentialInfo, GssMechanism } from '../gss-api.ts'
import type { NativeGss } from './gssapi-calls.ts'
import { type CredentialStore, OIDS } from './gssapi-functions.ts'
import { Handle } from './handle.ts'
import { callAsync, type Out, type Pointer } from './load.ts'

/** GSS_C_INITIATE */
export const INITIATE = 1

/** A keytab that is always empty. */
const NO_KEYTAB = 'MEMORY:poolsmith-no-keytab'

export interface AcquireOptions {
  readonly principal?: string | undefined
  /** Default: the cache that krb5 would take. */
  readonly cache?: string | undefined
  /** Where the cache's content is, when it was copied to this process; `cache` then serves messages. */
  readonly copy?: string | undefined
  readonly mechanism?: GssMechanism | undefined
}

/** A cache as the only source of a credential. Without a keytab krb5 would take the default client keytab, and ask a KDC. */
export function localStore(cache: string): CredentialStore {
  return {
    count: 2,
    elements: [
      { key: 'ccache', value: cache },
      { key: 'client_keytab', value: NO_KEYTAB },
    ],
  }
}

/** Acquires a credential in this process. Of a named cache it does so without asking a KDC. */
export async function acquireHere(native: NativeGss, options: AcquireOptions): Promise<MitCredential> {
  const { principal, cache, copy = cache, mechanism = 'krb5' } = options
  const facts: KerberosFacts = { principal, cache }
  const minor: Out<number> = [0]
  const out: Out<Pointer | null> = [null]
  using name = principal === undefined ? undefined : native.importName(principal, 'krb5Principal', facts)
  const major = await callAsync(
    native.functions.acquireCredFrom,
    minor,
    name?.pointer ?? null,
    0,
    { count: 1, elements: [OIDS[mechanism]] },
    INITIATE,
    copy === undefined ? null : localStore(copy),
    out,
    null,
    null,
  )
  native.check('acquire', major, minor, facts, mechanism)
  return new MitCredential(native, out[0], facts, mechanism)
}

export class MitCredential implements GssCredentialHandle {
  readonly handle: Handle
  readonly principal: string | undefined
  readonly cache: string | undefined
  readonly #native: NativeGss
  readonly #facts: KerberosFacts
  readonly #mechanism: GssMechanism

  constructor(native: NativeGss, pointer: Pointer | null, facts: KerberosFacts, mechanism: GssMechanism) {
    this.#native = native
    this.#facts = facts
    this.#mechanism = mechanism
    this.principal = facts.principal
    this.cache = facts.cache
    this.handle = new Handle(pointer, (credential) => native.functions.releaseCred([0], [credential]))
  }

  async inquire(options: GssCallOptions = {}): Promise<GssCredentialInfo> {
    const info = { purpose: 'the state of a credential', realm: realmIn(this.principal) ?? '', local: true }
    return this.#native.queued(info, this.#facts, options, () => this.inquireHere())
  }

  /** {@link inquire} at once, without its turn. */
  async inquireHere(): Promise<GssCredentialInfo> {
    const native = this.#native
    const done = this.handle.hold()
    const minor: Out<number> = [0]
    const name: Out<Pointer | null> = [null]
    const lifetime: Out<number> = [0]
    try {
      const pointer = this.handle.held
      const major = await callAsync(native.functions.inquireCred, minor, pointer, name, lifetime, null, null)
      native.check('inquire', major, minor, this.#facts, this.#mechanism)
    } finally {
      done()
    }
    const principal = native.takeName(name[0])
    // MIT reports an expired cache as a credential without a name and with no time left.
    if (principal === undefined || lifetime[0] === 0) {
      throw native.error('inquire', 0xb0000, [0], this.#facts, this.#mechanism)
    }
    return { principal, lifetimeSeconds: lifetime[0] }
  }

  [Symbol.dispose](): void {
    this.handle[Symbol.dispose]()
  }
}
