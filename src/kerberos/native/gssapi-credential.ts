import { type KerberosFacts, realmIn } from '../errors.ts'
import type {
  AcquireCredentialOptions,
  GssCallOptions,
  GssCredentialHandle,
  GssCredentialInfo,
  GssMechanism,
} from '../gss-api.ts'
import type { NativeGss } from './gssapi-calls.ts'
import { OIDS } from './gssapi-functions.ts'
import { Handle } from './handle.ts'
import { callAsync, type Out, type Pointer } from './load.ts'

const INITIATE = 1

export async function acquireCredential(native: NativeGss, options: AcquireCredentialOptions): Promise<MitCredential> {
  const { principal, cache, keytab, mechanism = 'krb5' } = options
  const facts: KerberosFacts = { principal, cache, keytab }
  const store = Object.entries({ ccache: cache, client_keytab: keytab }).flatMap(([key, value]) =>
    value === undefined ? [] : [{ key, value }],
  )
  const info = {
    purpose: `the credential of ${principal ?? 'the default principal'}`,
    realm: realmIn(principal) ?? '',
    local: keytab === undefined && cache !== undefined,
  }
  return native.queued(
    info,
    facts,
    options,
    async () => {
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
        store.length === 0 ? null : { count: store.length, elements: store },
        out,
        null,
        null,
      )
      native.check('acquire', major, minor, facts, mechanism)
      return new MitCredential(native, out[0], facts, mechanism)
    },
    (credential) => credential[Symbol.dispose](),
  )
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
    const native = this.#native
    const facts = this.#facts
    // With a default client keytab in place this too may ask the KDC.
    const info = { purpose: 'the state of a credential', realm: realmIn(this.principal) ?? '' }
    return native.queued(info, facts, options, async () => {
      const done = this.handle.hold()
      const minor: Out<number> = [0]
      const name: Out<Pointer | null> = [null]
      const lifetime: Out<number> = [0]
      try {
        const pointer = this.handle.held
        const major = await callAsync(native.functions.inquireCred, minor, pointer, name, lifetime, null, null)
        native.check('inquire', major, minor, facts, this.#mechanism)
      } finally {
        done()
      }
      const principal = native.takeName(name[0])
      // MIT reports an expired cache as a credential of nobody with nothing left.
      if (principal === undefined || lifetime[0] === 0) {
        throw native.error('inquire', 0xb0000, [0], facts, this.#mechanism)
      }
      return { principal, lifetimeSeconds: lifetime[0] }
    })
  }

  [Symbol.dispose](): void {
    this.handle[Symbol.dispose]()
  }
}
