import { PoolsmithError } from '../../errors.ts'
import { realmIn } from '../facts.ts'
import {
  type GssCallOptions,
  type GssContext,
  type GssContextInfo,
  type GssFlag,
  type GssStep,
  type InitContextOptions,
  targetName,
} from '../gss-api.ts'
import { usesGssproxy } from '../gssproxy.ts'
import { askKdc } from '../kdc/ask.ts'
import type { ContextStep } from '../kdc/tasks.ts'
import { lookAgain } from '../look-again.ts'
import { isPrivate, packCache, unpackCache } from './cache-transfer.ts'
import type { NativeGss } from './gssapi-calls.ts'
import { MitCredential } from './gssapi-credential.ts'
import { NativeContext, type NativeContextOptions } from './gssapi-native-context.ts'

/** The names that krb5 has made of those that were asked for: a ticket is in the cache under its canonical name. */
const canonicalNames = new Map<string, string>()
const MOST_NAMES = 1000

/**
 * A security context. Its first step asks the KDC in a process of its own, because such a call can hang for half a
 * minute and cannot be stopped; once complete the context comes over to this process. Where the ticket is in the cache
 * already no KDC is asked, and all happens here.
 */
export class MitContext implements GssContext {
  readonly target: string
  readonly #native: NativeGss
  readonly #options: NativeContextOptions
  /** The service's principal as it was asked for, `postgres/db`. */
  readonly #server: string
  #here: NativeContext
  /** The id of the context in the process that asks the KDC, while it is there. */
  #there: string | undefined
  #busy = false
  #disposed = false
  #prepared: Promise<GssStep> | undefined

  constructor(native: NativeGss, options: InitContextOptions) {
    const { target, credential, mechanism = 'krb5', flags, channelBindings } = options
    if (credential !== undefined && !(credential instanceof MitCredential)) {
      throw new TypeError('The credential must come from the same GssApi')
    }
    this.#native = native
    this.target = targetName(target)
    this.#server = 'principal' in target ? target.principal : `${target.service}/${target.host}`
    const facts = { principal: credential?.principal, cache: credential?.cache, spn: this.target }
    this.#options = { target, credential, mechanism, flags, channelBindings, facts }
    this.#here = new NativeContext(native, this.#options)
  }

  get complete(): boolean {
    return this.#here.complete
  }

  get flags(): readonly GssFlag[] {
    return this.#here.flags
  }

  prepare(options: GssCallOptions = {}): void {
    if (!this.#holdsTicket()) return
    this.#prepared = this.#turn(options, true, () => this.#here.step(undefined))
    this.#prepared.catch(() => undefined)
  }

  async step(token?: Uint8Array, options: GssCallOptions = {}): Promise<GssStep> {
    if (token !== undefined) return await this.#turn(options, true, () => this.#reply(token))
    const { cache } = this.#options.facts
    if (cache === undefined) return await this.#first(options)
    return (await lookAgain(cache, async () => ({ cache, step: await this.#first(options) }), options.signal)).step
  }

  wrap(plaintext: Uint8Array): Buffer {
    return this.#here.wrap(plaintext)
  }

  unwrap(message: Uint8Array): Buffer {
    return this.#here.unwrap(message)
  }

  wrapSizeLimit(messageBytes: number): number {
    return this.#here.wrapSizeLimit(messageBytes)
  }

  inquire(): GssContextInfo {
    return this.#here.inquire()
  }

  [Symbol.dispose](): void {
    this.#disposed = true
    this.#here[Symbol.dispose]()
    this.#leave()
  }

  /** Runs a step in its turn, one at a time. */
  #turn(options: GssCallOptions, local: boolean, step: () => Promise<GssStep>): Promise<GssStep> {
    const { facts } = this.#options
    const info = { purpose: `a ticket for ${this.target}`, realm: realmIn(facts.principal) ?? '', local }
    return this.#native.queued(info, facts, options, async () => {
      if (this.#busy) throw new Error('A security context takes one step at a time')
      this.#busy = true
      try {
        return await step()
      } finally {
        this.#busy = false
      }
    })
  }

  #first(options: GssCallOptions): Promise<GssStep> {
    const prepared = this.#prepared
    this.#prepared = undefined
    if (prepared !== undefined) return prepared
    const here = (): Promise<GssStep> => this.#here.step(undefined)
    if (this.#holdsTicket()) return this.#turn(options, true, here)
    // gssproxy asks the KDC itself, and its contexts cannot be transferred.
    if (usesGssproxy() && this.#options.facts.cache === undefined) return this.#turn(options, false, here)
    // An earlier caller may have obtained the ticket by the time of its turn.
    return this.#turn(options, false, () => (this.#holdsTicket() ? here() : this.#ask()))
  }

  /** Whether the first step needs no KDC. A ticket to act for us is asked for anew each time. */
  #holdsTicket(): boolean {
    const { flags, facts } = this.#options
    if (flags.includes('delegate')) return false
    return this.#native.holdsTicket(facts.cache, [this.#server, canonicalNames.get(this.#server) ?? this.#server])
  }

  /** The first step in the process that asks the KDC. */
  async #ask(): Promise<GssStep> {
    const { target, flags, mechanism, channelBindings, facts } = this.#options
    const { principal, cache } = facts
    let packed: Uint8Array | undefined
    try {
      packed = cache !== undefined && isPrivate(cache) ? await packCache(cache) : undefined
    } catch (error) {
      if (!(error instanceof PoolsmithError)) throw error
      // With such a cache, one that has expired for example, no KDC is asked; the step fails with the reason.
      return await this.#here.step(undefined)
    }
    const step = await askKdc('open', {
      credential: { principal, cache, packed },
      target,
      flags,
      mechanism,
      channelBindings,
    })
    if (step.packed !== undefined && cache !== undefined) await unpackCache(step.packed, cache)
    return this.#took(step)
  }

  async #reply(token: Uint8Array): Promise<GssStep> {
    const context = this.#there
    if (context === undefined) return await this.#here.step(token)
    return this.#took(await askKdc('reply', { context, token }))
  }

  /** Takes over the result of a step in the other process. */
  #took({ context, token, exported }: ContextStep): GssStep {
    this.#there = context
    if (this.#disposed) {
      this.#leave()
      throw new Error('This Kerberos handle was disposed')
    }
    if (exported !== undefined) {
      this.#here[Symbol.dispose]()
      this.#here = NativeContext.import(this.#native, this.#options, exported)
      if (canonicalNames.size >= MOST_NAMES) canonicalNames.clear()
      canonicalNames.set(this.#server, this.#here.inquire().target)
    }
    return { token: token === undefined ? undefined : Buffer.from(token), complete: this.complete }
  }

  #leave(): void {
    const context = this.#there
    this.#there = undefined
    // The other process may have ended, and the context with it.
    if (context !== undefined) askKdc('leave', { context }).catch(() => undefined)
  }
}
