import { PoolsmithError } from '../../errors.ts'
import { type CallInfo, kdcCalls, localCalls, type QueueState } from '../call-queue.ts'
import { type KerberosFacts, statusError } from '../errors.ts'
import type { GssCallOptions, GssMechanism } from '../gss-api.ts'
import { codeOf, type KerberosCall } from '../status.ts'
import { gaveUp } from '../waiting.ts'
import { type GssFunctions, type NativeBuffer, OIDS } from './gssapi-functions.ts'
import { Handle } from './handle.ts'
import { readCache, withKdcs } from './krb5.ts'
import type { Krb5Functions } from './krb5-functions.ts'
import { ABOUT_KDC } from './krb5-operation.ts'
import type { Koffi, Out, Pointer } from './load.ts'

/** Calling and routine errors of a major status; the rest is supplementary. */
export const ERROR_MASK = 0xffff0000
const GSS_CODE = 1
const MECHANISM_CODE = 2

/** What credentials and contexts alike need of the library: names, buffers, statuses. */
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
    // For a token that makes no sense some mechanisms have no more detail than that.
    const words = detail === '' || detail === 'Success' ? this.#statusText(major, GSS_CODE, mechanism) : detail
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

  /** Whether a cache holds a good ticket for a service, so that nobody has to be asked for one. */
  holdsTicket(cache: string, server: string): boolean {
    try {
      const { tickets } = readCache(this.#krb5, { cache })
      const wanted = server.toLowerCase()
      return tickets.some((ticket) => {
        const name = ticket.server.toLowerCase()
        return (name === wanted || name.startsWith(`${wanted}@`)) && ticket.expiresAt > Date.now()
      })
    } catch (error) {
      // What is wrong with the cache is told by the call that needs it.
      if (error instanceof PoolsmithError) return false
      throw error
    }
  }

  /** Runs a call that may ask a KDC. */
  queued<T>(
    info: CallInfo,
    facts: KerberosFacts,
    options: GssCallOptions,
    start: () => Promise<T>,
    abandon?: (result: T) => void,
  ): Promise<T> {
    return (info.local === true ? localCalls : kdcCalls).run(info, start, {
      signal: options.signal,
      aborted: (signal: AbortSignal, state: QueueState) => gaveUp(signal, state, info, withKdcs(this.#krb5, facts)),
      ...(abandon === undefined ? {} : { abandon }),
    })
  }
}
