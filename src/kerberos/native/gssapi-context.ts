import type { PoolsmithError } from '../../errors.ts'
import { type KerberosFacts, realmIn } from '../errors.ts'
import {
  type GssCallOptions,
  type GssContext,
  type GssContextInfo,
  type GssFlag,
  type GssMechanism,
  type GssStep,
  type InitContextOptions,
  targetName,
} from '../gss-api.ts'
import { ERROR_MASK, type NativeGss } from './gssapi-calls.ts'
import { MitCredential } from './gssapi-credential.ts'
import { type NativeBuffer, OIDS } from './gssapi-functions.ts'
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

export class MitContext implements GssContext {
  readonly target: string
  complete = false
  flags: readonly GssFlag[] = []
  readonly #native: NativeGss
  readonly #context: Handle
  readonly #name: Handle
  readonly #credential: MitCredential | undefined
  readonly #mechanism: GssMechanism
  readonly #request: number
  /** The service's principal as it was asked for, `postgres/db`. */
  readonly #server: string
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
    this.#server = 'principal' in target ? target.principal : `${target.service}/${target.host}`
    this.#credential = credential
    this.#mechanism = mechanism
    this.#request = flags.reduce((bits, flag) => bits | FLAG_BITS[flag], 0)
  }

  async step(token?: Uint8Array, options: GssCallOptions = {}): Promise<GssStep> {
    const native = this.#native
    const info = {
      purpose: `a ticket for ${this.target}`,
      realm: realmIn(this.#credential?.principal) ?? '',
      local: token !== undefined || this.#holdsTicket(),
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
        if (token === undefined) native.check('init', major, minor, this.#facts, this.#mechanism)
        else native.check('reply', major, minor, { ...this.#facts, fromServer: true }, this.#mechanism)
        this.complete = (major & CONTINUE_NEEDED) === 0
        this.flags = flagsIn(flags[0])
        return { token: reply.length === 0 ? undefined : reply, complete: this.complete }
      } finally {
        this.#busy = false
        for (const done of held) done?.()
      }
    })
  }

  /** Where it is there under another name (krb5 may canonicalise the host), it is as if it were not. */
  #holdsTicket(): boolean {
    const cache = this.#credential?.cache
    return cache !== undefined && this.#native.holdsTicket(cache, this.#server)
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
