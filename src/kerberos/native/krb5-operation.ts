import type { ErrorCode, PoolsmithError } from '../../errors.ts'
import { isWaitedFor } from '../cache-file.ts'
import { kerberosError, statusError } from '../errors.ts'
import { factsIn, type KerberosFacts, realmIn } from '../facts.ts'
import { codeOf, type KerberosCall } from '../status.ts'
import type { Krb5Functions } from './krb5-functions.ts'
import type { Out, Pointer } from './load.ts'

/** The errors that name the KDCs of the realm. */
export const ABOUT_KDC: ReadonlySet<ErrorCode> = new Set([
  'KDC_UNREACHABLE',
  'KDC_TIMEOUT',
  'CLOCK_SKEW',
  'SPN_UNKNOWN',
])

/** The objects that one method opens in a krb5 context: freed at its end, the last first. */
export class Operation implements Disposable {
  readonly context: Pointer
  readonly functions: Krb5Functions
  readonly #cleanups: (() => void)[] = []

  constructor(functions: Krb5Functions, context: Pointer) {
    this.functions = functions
    this.context = context
  }

  defer(cleanup: () => void): void {
    this.#cleanups.push(cleanup)
  }

  /** @throws the error of a code other than 0 */
  check(call: KerberosCall, code: number, facts: KerberosFacts): void {
    if (code !== 0) throw this.error(call, code, facts)
  }

  /** The error of a code other than 0. */
  error(call: KerberosCall, code: number, facts: KerberosFacts): PoolsmithError {
    const pointer = this.functions.getErrorMessage(this.context, code)
    const text = this.functions.text(pointer)
    this.functions.freeErrorMessage(this.context, pointer)
    const status = { call, minor: code, text }
    return statusError(status, ABOUT_KDC.has(codeOf(status)) ? this.withKdcs({ ...facts, ...factsIn(text) }) : facts)
  }

  /** Adds the KDCs that krb5.conf names for the realm in question; none where DNS names them. */
  withKdcs(facts: KerberosFacts): KerberosFacts {
    const realm = facts.realm ?? realmIn(facts.principal ?? facts.owner)
    if (realm === undefined) return facts
    return { ...facts, realm, kdcs: this.configured('realms', realm, 'kdc') }
  }

  /** All values that krb5.conf has under a path such as `libdefaults`, `rdns`; undefined when it cannot be read. */
  configured(...path: readonly string[]): string[] | undefined {
    const { functions } = this
    const profile: Out<Pointer | null> = [null]
    // Errors are made with this; a configuration that cannot be read must not take the place of the error.
    if (functions.getProfile(this.context, profile) !== 0 || profile[0] === null) return undefined
    const [pointer] = profile
    this.defer(() => functions.profileRelease(pointer))
    const list: Out<Pointer | null> = [null]
    if (functions.profileGetValues(pointer, [...path, null], list) !== 0 || list[0] === null) return []
    const values = functions.texts(list[0])
    functions.profileFreeList(list[0])
    return values
  }

  /** Runs a call that hands out one pointer. */
  make(call: KerberosCall, facts: KerberosFacts, run: (out: Out<Pointer | null>) => number): Pointer {
    const out: Out<Pointer | null> = [null]
    this.check(call, run(out), facts)
    if (out[0] === null) throw statusError({ call, minor: 0, text: 'no result' }, facts)
    return out[0]
  }

  cache(name: string, call: KerberosCall, facts: KerberosFacts): Pointer {
    const cache = this.make(call, facts, (out) => this.functions.ccResolve(this.context, name, out))
    this.defer(() => this.functions.ccClose(this.context, cache))
    return cache
  }

  principal(name: string, facts: KerberosFacts): Pointer {
    const principal = this.make('obtain', facts, (out) => this.functions.parseName(this.context, name, out))
    this.defer(() => this.functions.freePrincipal(this.context, principal))
    return principal
  }

  /** The text of a principal, which the caller goes on owning. */
  nameOf(principal: Pointer): string {
    const name = this.make('read-cache', {}, (out) => this.functions.unparseName(this.context, principal, out))
    const text = this.functions.text(name)
    this.functions.freeUnparsedName(this.context, name)
    return text
  }

  fullName(cache: Pointer): string {
    const name = this.make('read-cache', {}, (out) => this.functions.ccGetFullName(this.context, cache, out))
    const text = this.functions.text(name)
    this.functions.freeString(this.context, name)
    return text
  }

  /** @throws KEYTAB_CORRUPT for a file that krb5 would wait for, such as a pipe */
  keytab(name: string, facts: KerberosFacts): Pointer {
    if (isWaitedFor(name))
      throw kerberosError('KEYTAB_CORRUPT', { keytab: name }, { more: 'It is not a regular file.' })
    const keytab = this.make('read-keytab', facts, (out) => this.functions.ktResolve(this.context, name, out))
    this.defer(() => this.functions.ktClose(this.context, keytab))
    return keytab
  }

  encryptionType(number: number): string {
    const text = Buffer.alloc(64)
    if (this.functions.enctypeToName(number, 0, text, text.length) !== 0) return String(number)
    return text.toString('latin1', 0, text.indexOf(0))
  }

  /** The encryption types that krb5.conf permits. */
  permittedTypes(): string[] {
    return this.permittedTypeNumbers().map((type) => this.encryptionType(type))
  }

  /** The same, by their numbers. */
  permittedTypeNumbers(): number[] {
    const list: Out<Pointer | null> = [null]
    if (this.functions.getPermittedEnctypes(this.context, list) !== 0 || list[0] === null) return []
    const types = this.functions.numbers(list[0])
    this.functions.freeEnctypes(this.context, list[0])
    return types
  }

  /** The principal of an open cache. */
  ownerOf(cache: Pointer, call: KerberosCall, facts: KerberosFacts): Pointer {
    const owner = this.make(call, facts, (out) => this.functions.ccGetPrincipal(this.context, cache, out))
    this.defer(() => this.functions.freePrincipal(this.context, owner))
    return owner
  }

  /**
   * How far the KDC's clock is ahead of this machine's, in milliseconds. The context knows it from the cache that was
   * opened first, or from the KDC that has answered.
   */
  clockOffset(): number {
    const corrected: Out<number> = [0]
    this.check('read-cache', this.functions.timeOfDay(this.context, corrected), {})
    const offset = corrected[0] * 1000 - Math.floor(Date.now() / 1000) * 1000
    // A second may have begun between the two readings.
    return Math.abs(offset) <= 1000 ? 0 : offset
  }

  [Symbol.dispose](): void {
    for (const cleanup of this.#cleanups.splice(0).reverse()) cleanup()
  }
}
