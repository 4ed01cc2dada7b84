import type { PoolsmithError } from '../../errors.ts'
import type { KerberosFacts } from '../facts.ts'
import {
  type GssContextInfo,
  type GssFlag,
  type GssMechanism,
  type GssStep,
  type GssTarget,
  targetName,
} from '../gss-api.ts'
import { ERROR_MASK, type NativeGss } from './gssapi-calls.ts'
import type { MitCredential } from './gssapi-credential.ts'
import { type ChannelBindings, type NativeBuffer, OIDS } from './gssapi-functions.ts'
import { Handle } from './handle.ts'
import { callAsync, type Out, type Pointer } from './load.ts'

const FLAG_BITS: Readonly<Record<GssFlag, number>> = {
  delegate: 1,
  mutual: 2,
  replay: 4,
  sequence: 8,
  confidentiality: 16,
  integrity: 32,
}

const CONTINUE_NEEDED = 1

export interface NativeContextOptions {
  readonly target: GssTarget
  readonly flags: readonly GssFlag[]
  readonly credential: MitCredential | undefined
  readonly mechanism: GssMechanism
  readonly channelBindings?: Uint8Array | undefined
  readonly facts: KerberosFacts
}

/** A security context in this process. Its first step asks a KDC unless the ticket is in the cache already. */
export class NativeContext implements Disposable {
  complete = false
  flags: readonly GssFlag[] = []
  readonly #native: NativeGss
  readonly #context: Handle
  readonly #name: Handle
  readonly #options: NativeContextOptions
  readonly #request: number
  #busy = false

  constructor(native: NativeGss, options: NativeContextOptions) {
    const { target, flags, facts } = options
    this.#native = native
    this.#options = options
    const type = 'principal' in target ? 'krb5Principal' : 'hostBasedService'
    this.#name = native.importName(targetName(target), type, facts)
    this.#context = new Handle(null, (context) => native.functions.deleteSecContext([0], [context], null))
    this.#request = flags.reduce((bits, flag) => bits | FLAG_BITS[flag], 0)
  }

  /** A complete context that {@link export} has exported in another process. */
  static import(native: NativeGss, options: NativeContextOptions, exported: Uint8Array): NativeContext {
    const context = new NativeContext(native, options)
    const minor: Out<number> = [0]
    const out: Out<Pointer | null> = [null]
    const bytes = { length: exported.length, value: exported }
    native.check('reply', native.functions.importSecContext(minor, bytes, out), minor, options.facts)
    context.#context.replace(out[0])
    context.complete = true
    context.flags = context.inquire().flags
    return context
  }

  /** The complete context for another process. It holds the keys of the session, and ends here. */
  export(): Buffer {
    const minor: Out<number> = [0]
    const context: Out<Pointer | null> = [this.#established()]
    const exported: NativeBuffer = { length: 0, value: null }
    const major = this.#native.functions.exportSecContext(minor, context, exported)
    this.#context.replace(context[0])
    this.#check('inquire', major, minor)
    return this.#native.take(exported)
  }

  /** One step, at once. */
  async step(token: Uint8Array | undefined): Promise<GssStep> {
    if (this.#busy) throw new Error('A security context takes one step at a time')
    this.#busy = true
    const native = this.#native
    const { credential, mechanism, channelBindings, facts } = this.#options
    const held = [this.#context.hold(), this.#name.hold(), credential?.handle.hold()]
    const minor: Out<number> = [0]
    const context: Out<Pointer | null> = [this.#context.held]
    const output: NativeBuffer = { length: 0, value: null }
    const flags: Out<number> = [0]
    try {
      const major = await callAsync(
        native.functions.initSecContext,
        minor,
        credential?.handle.held ?? null,
        context,
        this.#name.held,
        OIDS[mechanism],
        this.#request,
        0,
        channelBindings === undefined ? null : boundTo(channelBindings),
        token === undefined ? null : { length: token.length, value: token },
        null,
        output,
        flags,
        null,
      )
      this.#context.replace(context[0])
      const reply = native.take(output)
      if (token === undefined) this.#check('init', major, minor)
      else native.check('reply', major, minor, { ...facts, fromServer: true }, mechanism)
      this.complete = (major & CONTINUE_NEEDED) === 0
      this.flags = flagsIn(flags[0])
      return { token: reply.length === 0 ? undefined : reply, complete: this.complete }
    } finally {
      this.#busy = false
      for (const done of held) done?.()
    }
  }

  wrap(plaintext: Uint8Array): Buffer {
    const minor: Out<number> = [0]
    const encrypted: Out<number> = [0]
    const output: NativeBuffer = { length: 0, value: null }
    const input = { length: plaintext.length, value: plaintext }
    const major = this.#native.functions.wrap(minor, this.#established(), 1, 0, input, encrypted, output)
    const message = this.#native.take(output)
    this.#check('message', major, minor)
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
    this.#check('message', major, minor)
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
    this.#check('inquire', major, minor)
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

  #check(call: 'init' | 'message' | 'inquire', major: number, minor: Out<number>): void {
    this.#native.check(call, major, minor, this.#options.facts, this.#options.mechanism)
  }

  #established(): Pointer {
    const pointer = this.#context.pointer
    if (pointer === null || !this.complete || this.#busy) throw new Error('The security context is not established')
    return pointer
  }

  #damaged(major: number, minor: Out<number>): PoolsmithError {
    // Where the library saw no error, one of our own (GSS_S_BAD_SIG), which the table knows as damage.
    const status = (major & ERROR_MASK) >>> 0 === 0 ? 0x60000 : major
    return this.#native.error('message', status, minor, this.#options.facts)
  }
}

/** Bindings without addresses, as RFC 5929 has them. */
function boundTo(data: Uint8Array): ChannelBindings {
  const nothing: NativeBuffer = { length: 0, value: null }
  return {
    initiatorType: 0,
    initiator: nothing,
    acceptorType: 0,
    acceptor: nothing,
    application: { length: data.length, value: data },
  }
}

function flagsIn(bits: number): GssFlag[] {
  return (Object.keys(FLAG_BITS) as GssFlag[]).filter((flag) => (bits & FLAG_BITS[flag]) !== 0)
}
