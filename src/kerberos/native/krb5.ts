import { configurationFault } from '../configuration.ts'
import { kerberosError } from '../errors.ts'
import type { KerberosFacts } from '../facts.ts'
import { codeOf } from '../status.ts'
import { Handle } from './handle.ts'
import {
  assertCanBeRead,
  type CacheChoice,
  type CacheContents,
  contentsOf,
  copyTickets,
  findCache,
} from './krb5-cache.ts'
import { type Krb5Functions, krb5Functions } from './krb5-functions.ts'
import type { KeyFunctions } from './krb5-key-functions.ts'
import { type DefaultKeytabs, defaultKeytabs, entriesOf, type KeytabEntry } from './krb5-keytab.ts'
import type { KeyChange, KeyChangeAnswer, NewKeys } from './krb5-new-key.ts'
import { Operation } from './krb5-operation.ts'
import { obtainServiceTicket, type ServiceOptions } from './krb5-service.ts'
import { type ObtainOptions, obtainTicket, type RenewOptions, renewTicket } from './krb5-ticket.ts'
import { loadKerberosLibraries, type Out, type Pointer } from './load.ts'

let loading: Promise<Krb5Functions> | undefined

/** @throws PACKAGE_MISSING, GSS_LIBRARY_MISSING */
export function loadKrb5Functions(): Promise<Krb5Functions> {
  loading ??= loadKerberosLibraries().then(krb5Functions)
  loading.catch(() => {
    loading = undefined
  })
  return loading
}

let keyLoading: Promise<KeyFunctions> | undefined

async function loadKeyFunctions(): Promise<KeyFunctions> {
  const { keyFunctions } = await import('./krb5-key-functions.ts')
  keyLoading ??= loadKerberosLibraries().then(keyFunctions)
  return await keyLoading
}

/**
 * How long krb5 may use the configuration that it has read, in milliseconds. It looks for changes of the file itself once
 * a second, but not for those of files that this one includes.
 */
const CONFIGURATION_MILLIS = 5000

let kept: { readonly context: Pointer; readonly until: number } | undefined

/**
 * krb5 reads its configuration anew for each context, about eight times for a login, unless another context has it already.
 * So one is kept that serves nothing else.
 */
function keepConfiguration(functions: Krb5Functions): void {
  const now = performance.now()
  if (kept !== undefined && now < kept.until) return
  if (kept !== undefined) functions.freeContext(kept.context)
  const out: Out<Pointer | null> = [null]
  const isRead = functions.initContext(out) === 0 && out[0] !== null
  kept = isRead ? { context: out[0] as Pointer, until: now + CONFIGURATION_MILLIS } : undefined
}

/**
 * libkrb5, in one context. A context serves one thing at a time, and one cache: the first that is opened tells it how
 * far the KDC's clock is ahead. Open one for each refresh of a ticket, and dispose of it.
 *
 * Its asynchronous methods ask a KDC, on a thread of libuv's pool; all else returns at once.
 */
export class Krb5 implements Disposable {
  readonly #functions: Krb5Functions
  readonly #context: Handle

  /** @throws KRB5_CONFIG_INVALID */
  constructor(functions: Krb5Functions) {
    keepConfiguration(functions)
    const out: Out<Pointer | null> = [null]
    const code = functions.initContext(out)
    if (code !== 0 || out[0] === null) {
      const status = {
        call: 'read-cache',
        minor: code,
        text: functions.text(functions.getErrorMessage(null, code)),
      } as const
      throw kerberosError(codeOf(status), {}, { status, more: configurationFault(process.env) })
    }
    this.#functions = functions
    this.#context = new Handle(out[0], (context) => functions.freeContext(context))
  }

  /** @throws PACKAGE_MISSING, GSS_LIBRARY_MISSING, KRB5_CONFIG_INVALID */
  static async open(): Promise<Krb5> {
    return new Krb5(await loadKrb5Functions())
  }

  /** The whole cache: its principal and tickets. No network. @throws TICKET_CACHE_… */
  read(choice: CacheChoice): CacheContents {
    using operation = this.#begin()
    return contentsOf(operation, choice)
  }

  /** The full name of the cache that {@link read} would read, whether it exists or not. */
  cacheName(choice: CacheChoice): string {
    using operation = this.#begin()
    return operation.fullName(findCache(operation, choice))
  }

  /** @throws TICKET_CACHE_CORRUPT for a file that krb5 would wait for, such as a pipe */
  assertCanBeRead(choice: CacheChoice): void {
    assertCanBeRead(this.cacheName(choice))
  }

  /** A principal in full and normalised: `alice` with the default realm behind it. @throws PRINCIPAL_MALFORMED */
  principal(name: string): string {
    using operation = this.#begin()
    return operation.nameOf(operation.principal(name, { principal: name }))
  }

  /** The entries of a keytab. @throws KEYTAB_… */
  keytab(name: string): KeytabEntry[] {
    using operation = this.#begin()
    return entriesOf(operation, name)
  }

  /** The keytabs that krb5 takes where none is named, whether they exist or not. */
  defaultKeytabs(): DefaultKeytabs {
    using operation = this.#begin()
    return defaultKeytabs(operation)
  }

  /** Obtains a first ticket from a keytab and stores it in `into`, which is emptied first. Asks the KDC. */
  async obtain(options: ObtainOptions, into: string): Promise<CacheContents> {
    using _ = this.hold()
    using operation = this.#begin()
    return await obtainTicket(operation, options, into)
  }

  /** Renews the ticket of one cache into another, or the same. Asks the KDC. */
  async renew(options: RenewOptions, into: string): Promise<CacheContents> {
    using _ = this.hold()
    using operation = this.#begin()
    return await renewTicket(operation, options, into)
  }

  /** Obtains the ticket for a service into the cache, where it can be read. Asks the KDC. */
  async obtainFor(options: ServiceOptions): Promise<void> {
    using _ = this.hold()
    using operation = this.#begin()
    await obtainServiceTicket(operation, options)
  }

  /** Sets a new password for a principal by the key in its keytab. Asks the KDC. */
  async changeKey(change: KeyChange): Promise<KeyChangeAnswer> {
    using _ = this.hold()
    using operation = this.#begin()
    const { changeKey } = await import('./krb5-new-key.ts')
    return await changeKey(operation, await loadKeyFunctions(), change)
  }

  /** The keys that the KDC has for a password. Asks the KDC. */
  async keysOf(account: { readonly principal: string; readonly password: Uint8Array }): Promise<NewKeys> {
    using _ = this.hold()
    using operation = this.#begin()
    const { keysOf } = await import('./krb5-new-key.ts')
    return await keysOf(operation, await loadKeyFunctions(), account)
  }

  /** Copies all tickets of a cache into another, which is emptied first. */
  copy(from: string, into: string): void {
    using operation = this.#begin()
    copyTickets(operation, from, into)
  }

  /** Removes a cache with its tickets. @throws TICKET_CACHE_MISSING */
  destroy(cache: string): void {
    using operation = this.#begin()
    const { functions, context } = operation
    const pointer = operation.make('read-cache', { cache }, (out) => functions.ccResolve(context, cache, out))
    // krb5_cc_destroy frees the handle as well, whatever it returns.
    operation.check('read-cache', functions.ccDestroy(context, pointer), { cache })
  }

  /** The first value that krb5.conf has under a path such as `libdefaults`, `rdns`. */
  configured(...path: readonly string[]): string | undefined {
    using operation = this.#begin()
    return operation.configured(...path)?.[0]
  }

  /** Adds the KDCs that krb5.conf names for the realm. */
  withKdcs(facts: KerberosFacts): KerberosFacts {
    using operation = this.#begin()
    return operation.withKdcs(facts)
  }

  /** Keeps the context usable until the result is disposed of, even if the context itself is disposed of before. */
  hold(): Disposable {
    return { [Symbol.dispose]: this.#context.hold() }
  }

  [Symbol.dispose](): void {
    this.#context[Symbol.dispose]()
  }

  #begin(): Operation {
    const context = this.#context.isHeld ? this.#context.held : this.#context.pointer
    if (context === null) throw new Error('The krb5 context was freed')
    return new Operation(this.#functions, context)
  }
}
