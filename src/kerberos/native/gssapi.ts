import type { PoolsmithError } from '../../errors.ts'
import { type CallInfo, kdcCalls, type QueueState } from '../call-queue.ts'
import { type KerberosFacts, realmIn, statusError } from '../errors.ts'
import type {
  AcquireCredentialOptions,
  GssApi,
  GssCallOptions,
  GssContext,
  GssContextInfo,
  GssCredentialHandle,
  GssCredentialInfo,
  GssFlag,
  GssMechanism,
  GssStep,
  InitContextOptions,
} from '../gss-api.ts'
import { targetName } from '../gss-api.ts'
import { codeOf, type KerberosCall } from '../status.ts'
import { gaveUp } from '../waiting.ts'
import { type GssFunctions, gssFunctions, type NativeBuffer, OIDS } from './gssapi-functions.ts'
import { Handle } from './handle.ts'
import { withKdcs } from './krb5.ts'
import { type Krb5Functions, krb5Functions } from './krb5-functions.ts'
import { ABOUT_KDC } from './krb5-operation.ts'
import { callAsync, type Koffi, loadKerberosLibraries, type Out, type Pointer } from './load.ts'

const FLAG_BITS: Readonly<Record<GssFlag, number>> = {
  delegate: 1,
  mutual: 2,
  replay: 4,
  sequence: 8,
  confidentiality: 16,
  integrity: 32,
}

const INITIATE = 1
const CONTINUE_NEEDED = 1
/** Calling and routine errors of a major status; the rest is supplementary. */
const ERROR_MASK = 0xffff0000
const GSS_CODE = 1
const MECHANISM_CODE = 2

/** GSSAPI by MIT Kerberos. This file, its functions' table and `krb5.ts` are all that ever holds a pointer. */
export async function createMitGssApi(): Promise<GssApi> {
  const libraries = await loadKerberosLibraries()
  const native = new NativeGss(libraries.koffi, gssFunctions(libraries), krb5Functions(libraries))
  return {
    provider: 'mit',
    acquireCredential: (options = {}) => acquireCredential(native, options),
    initContext: (options) => new MitContext(native, options),
  }
}

/** The calls that every object here needs: names, buffers, statuses. */
class NativeGss {
  readonly functions: GssFunctions
  readonly #koffi: Koffi
  readonly #krb5: Krb5Functions

  constructor(koffi: Koffi, functions: GssFunctions, krb5: Krb5Functions) {
    this.#koffi = koffi
    this.functions = functions
    this.#krb5 = krb5
  }

  /** Throws on an error status; returns the supplementary bits. */
  check(
    call: KerberosCall,
    major: number,
    minor: Out<number>,
    facts: KerberosFacts,
    mechanism: GssMechanism = 'krb5',
  ): number {
    if ((major & ERROR_MASK) >>> 0 !== 0) throw this.error(call, major, minor, facts, mechanism)
    return major
  }

  error(
    call: KerberosCall,
    major: number,
    minor: Out<number>,
    facts: KerberosFacts,
    mechanism: GssMechanism = 'krb5',
  ): PoolsmithError {
    const words =
      minor[0] === 0
        ? this.#statusText(major, GSS_CODE, mechanism)
        : this.#statusText(minor[0], MECHANISM_CODE, mechanism)
    const status = { call, major: major >>> 0, minor: minor[0] | 0, text: words }
    return statusError(status, ABOUT_KDC.has(codeOf(status)) ? withKdcs(this.#krb5, facts) : facts)
  }

  /** MIT keeps the detailed text for the thread that failed, so after an asynchronous call this is the general one. */
  #statusText(status: number, type: number, mechanism: GssMechanism): string {
    const text: NativeBuffer = { length: 0, value: null }
    const major = this.functions.displayStatus([0], status >>> 0, type, OIDS[mechanism], [0], text)
    return major === 0 ? this.take(text).toString() : ''
  }

  /** Copies a buffer that the library made, and releases it. */
  take(buffer: NativeBuffer): Buffer {
    if (buffer.value === null || buffer.length === 0) return Buffer.alloc(0)
    const bytes: Uint8Array = this.#koffi.decode(buffer.value, 'uint8_t', Number(buffer.length))
    this.functions.releaseBuffer([0], buffer)
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  importName(name: string, type: 'hostBasedService' | 'krb5Principal', facts: KerberosFacts): Handle {
    const bytes = Buffer.from(name)
    const minor: Out<number> = [0]
    const out: Out<Pointer | null> = [null]
    const major = this.functions.importName(minor, { length: bytes.length, value: bytes }, OIDS[type], out)
    this.check('init', major, minor, facts)
    return new Handle(out[0], (pointer) => this.functions.releaseName([0], [pointer]))
  }

  /** A name as text; the name itself is released. */
  takeName(name: Pointer | null): string | undefined {
    if (name === null) return undefined
    const text: NativeBuffer = { length: 0, value: null }
    const major = this.functions.displayName([0], name, text, null)
    const shown = major === 0 ? this.take(text).toString() : undefined
    this.functions.releaseName([0], [name])
    return shown
  }

  /** Runs a call that may ask a KDC. */
  queued<T>(
    info: CallInfo,
    facts: KerberosFacts,
    options: GssCallOptions,
    start: () => Promise<T>,
    abandon?: (result: T) => void,
  ): Promise<T> {
    return kdcCalls.run(info, start, {
      signal: options.signal,
      aborted: (signal: AbortSignal, state: QueueState) => gaveUp(signal, state, info, withKdcs(this.#krb5, facts)),
      ...(abandon === undefined ? {} : { abandon }),
    })
  }
}

async function acquireCredential(native: NativeGss, options: AcquireCredentialOptions): Promise<MitCredential> {
  const { principal, cache, keytab, mechanism = 'krb5' } = options
  const facts: KerberosFacts = { principal, cache, keytab }
  const store = Object.entries({ ccache: cache, client_keytab: keytab }).flatMap(([key, value]) =>
    value === undefined ? [] : [{ key, value }],
  )
  const info = { purpose: `the credential of ${principal ?? 'the default principal'}`, realm: realmIn(principal) ?? '' }
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

class MitCredential implements GssCredentialHandle {
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

class MitContext implements GssContext {
  readonly target: string
  complete = false
  flags: readonly GssFlag[] = []
  readonly #native: NativeGss
  readonly #context: Handle
  readonly #name: Handle
  readonly #credential: MitCredential | undefined
  readonly #mechanism: GssMechanism
  readonly #request: number
  readonly #facts: KerberosFacts
  #busy = false

  constructor(native: NativeGss, options: InitContextOptions) {
    const { target, credential, mechanism = 'krb5', flags } = options
    if (credential !== undefined && !(credential instanceof MitCredential)) {
      throw new TypeError('The credential must come from the same GssApi')
    }
    this.#native = native
    this.target = targetName(target)
    this.#facts = { principal: credential?.principal, cache: credential?.cache, spn: this.target }
    this.#name = native.importName(
      this.target,
      'principal' in target ? 'krb5Principal' : 'hostBasedService',
      this.#facts,
    )
    this.#context = new Handle(null, (context) => native.functions.deleteSecContext([0], [context], null))
    this.#credential = credential
    this.#mechanism = mechanism
    this.#request = flags.reduce((bits, flag) => bits | FLAG_BITS[flag], 0)
  }

  async step(token?: Uint8Array, options: GssCallOptions = {}): Promise<GssStep> {
    const native = this.#native
    const info = {
      purpose: `a ticket for ${this.target}`,
      realm: realmIn(this.#credential?.principal) ?? '',
    }
    return native.queued(info, this.#facts, options, async () => {
      if (this.#busy) throw new Error('A security context takes one step at a time')
      this.#busy = true
      const held = [this.#context.hold(), this.#name.hold(), this.#credential?.handle.hold()]
      const minor: Out<number> = [0]
      const context: Out<Pointer | null> = [this.#context.held]
      const output: NativeBuffer = { length: 0, value: null }
      const flags: Out<number> = [0]
      try {
        const major = await callAsync(
          native.functions.initSecContext,
          minor,
          this.#credential?.handle.held ?? null,
          context,
          this.#name.held,
          OIDS[this.#mechanism],
          this.#request,
          0,
          null,
          token === undefined ? null : { length: token.length, value: token },
          null,
          output,
          flags,
          null,
        )
        this.#context.replace(context[0])
        const reply = native.take(output)
        native.check('init', major, minor, this.#facts, this.#mechanism)
        this.complete = (major & CONTINUE_NEEDED) === 0
        this.flags = flagsIn(flags[0])
        return { token: reply.length === 0 ? undefined : reply, complete: this.complete }
      } finally {
        this.#busy = false
        for (const done of held) done?.()
      }
    })
  }

  wrap(plaintext: Uint8Array): Buffer {
    const minor: Out<number> = [0]
    const encrypted: Out<number> = [0]
    const output: NativeBuffer = { length: 0, value: null }
    const input = { length: plaintext.length, value: plaintext }
    const major = this.#native.functions.wrap(minor, this.#established(), 1, 0, input, encrypted, output)
    const message = this.#native.take(output)
    this.#native.check('message', major, minor, this.#facts, this.#mechanism)
    if (encrypted[0] === 0) throw this.#damaged(major, minor)
    return message
  }

  unwrap(message: Uint8Array): Buffer {
    const minor: Out<number> = [0]
    const encrypted: Out<number> = [0]
    const output: NativeBuffer = { length: 0, value: null }
    const input = { length: message.length, value: message }
    const major = this.#native.functions.unwrap(minor, this.#established(), input, output, encrypted, [0])
    const plaintext = this.#native.take(output)
    // A repeated, old or skipped message is only a supplementary status: on a stream it is damage all the same.
    if (major !== 0 || encrypted[0] === 0) throw this.#damaged(major, minor)
    return plaintext
  }

  wrapSizeLimit(messageBytes: number): number {
    const minor: Out<number> = [0]
    const limit: Out<number> = [0]
    const major = this.#native.functions.wrapSizeLimit(minor, this.#established(), 1, 0, messageBytes, limit)
    this.#native.check('message', major, minor, this.#facts, this.#mechanism)
    return limit[0]
  }

  inquire(): GssContextInfo {
    const native = this.#native
    const minor: Out<number> = [0]
    const [initiator, target]: [Out<Pointer | null>, Out<Pointer | null>] = [[null], [null]]
    const lifetime: Out<number> = [0]
    const flags: Out<number> = [0]
    const major = native.functions.inquireContext(
      minor,
      this.#established(),
      initiator,
      target,
      lifetime,
      null,
      flags,
      null,
      null,
    )
    native.check('inquire', major, minor, this.#facts, this.#mechanism)
    return {
      initiator: native.takeName(initiator[0]) ?? '',
      target: native.takeName(target[0]) ?? '',
      lifetimeSeconds: lifetime[0],
      flags: flagsIn(flags[0]),
    }
  }

  [Symbol.dispose](): void {
    this.#context[Symbol.dispose]()
    this.#name[Symbol.dispose]()
  }

  #established(): Pointer {
    const pointer = this.#context.pointer
    if (pointer === null || !this.complete || this.#busy) throw new Error('The security context is not established')
    return pointer
  }

  #damaged(major: number, minor: Out<number>): PoolsmithError {
    // Our own routine error (GSS_S_BAD_SIG) where the library saw no error: the table knows it as damage.
    return this.#native.error('message', (major & ERROR_MASK) >>> 0 === 0 ? 0x60000 : major, minor, this.#facts)
  }
}

function flagsIn(bits: number): GssFlag[] {
  return (Object.keys(FLAG_BITS) as GssFlag[]).filter((flag) => (bits & FLAG_BITS[flag]) !== 0)
}
