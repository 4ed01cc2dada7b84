import { PoolsmithError } from '../../errors.ts'
import { cachePath } from '../cache-name.ts'
import { type CallInfo, kdcCalls, localCalls, type QueueState } from '../call-queue.ts'
import { statusError } from '../errors.ts'
import { factsIn, type KerberosFacts } from '../facts.ts'
import type { GssCallOptions, GssMechanism } from '../gss-api.ts'
import { defaultCache } from '../kcm-daemon.ts'
import { codeOf, type KerberosCall } from '../status.ts'
import { gaveUp, stayAlive } from '../waiting.ts'
import { type GssFunctions, type NativeBuffer, OIDS } from './gssapi-functions.ts'
import { Handle } from './handle.ts'
import { Krb5 } from './krb5.ts'
import type { Krb5Functions } from './krb5-functions.ts'
import { ABOUT_KDC } from './krb5-operation.ts'
import type { Koffi, Out, Pointer } from './load.ts'

/** Calling and routine errors of a major status; the rest is supplementary. */
export const ERROR_MASK = 0xffff0000
const GSS_CODE = 1
const MECHANISM_CODE = 2

/** The parts of the library that credentials and contexts share: names, buffers, statuses. */
export class NativeGss {
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
    const detail = minor[0] === 0 ? '' : this.#statusText(minor[0], MECHANISM_CODE, mechanism)
    // Some mechanisms have no detail for a token that they cannot read.
    const words = detail === '' || detail === 'Success' ? this.#statusText(major, GSS_CODE, mechanism) : detail
    const status = { call, major: major >>> 0, minor: minor[0] | 0, text: words }
    return statusError(status, ABOUT_KDC.has(codeOf(status)) ? this.#withKdcs({ ...facts, ...factsIn(words) }) : facts)
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

  /**
   * Whether a cache holds a valid ticket for a service under one of its names, so that no KDC has to be asked. Without
   * a cache it is krb5's own choice, which is known beforehand only for a file.
   */
  holdsTicket(cache: string | undefined, names: readonly string[]): boolean {
    const wanted = names.map((name) => name.toLowerCase())
    try {
      using krb5 = new Krb5(this.#krb5)
      if (cache === undefined && cachePath(defaultCache(krb5)) === undefined) return false
      return krb5.read({ cache }).tickets.some(({ server, expiresAt }) => {
        const name = server.toLowerCase()
        return expiresAt > Date.now() && wanted.some((each) => name === each || name.startsWith(`${each}@`))
      })
    } catch (error) {
      // The call that needs the cache fails with the reason.
      if (error instanceof PoolsmithError) return false
      throw error
    }
  }

  #withKdcs(facts: KerberosFacts): KerberosFacts {
    using krb5 = new Krb5(this.#krb5)
    return krb5.withKdcs(facts)
  }

  /** Runs a call in its turn: one that may ask a KDC in another queue than one that is local. */
  async queued<T>(
    info: CallInfo,
    facts: KerberosFacts,
    options: GssCallOptions,
    start: () => Promise<T>,
    abandon?: (result: T) => void,
  ): Promise<T> {
    using _ = stayAlive()
    return await (info.local === true ? localCalls : kdcCalls).run(info, start, {
      signal: options.signal,
      aborted: (signal: AbortSignal, state: QueueState) => gaveUp(signal, state, info, this.#withKdcs(facts)),
      abandon,
    })
  }
}
