import type { Credential } from '../../credentials/credential.ts'
import { openCredential } from '../../kerberos/ensure-ticket.ts'
import type { GssApi, GssContext, GssCredentialHandle, GssFlag, GssTarget } from '../../kerberos/gss-api.ts'
import { loadGssApi } from '../../kerberos/load-gss-api.ts'
import type { PostgresOptions } from './options.ts'

export interface GssIdentityOptions {
  /** The host as the user named it; krb5 canonicalises it. */
  readonly host: string
  readonly options: Pick<PostgresOptions, 'krbsrvname' | 'krbspn' | 'gssdelegation'>
}

/**
 * The client's side of Kerberos while one connection is opened: the ticket, acquired for each connection because a
 * credential that is held goes stale, and the security contexts towards the server.
 */
export class GssIdentity implements Disposable {
  readonly target: GssTarget
  readonly #gss: GssApi
  readonly #handle: GssCredentialHandle
  readonly #delegate: boolean
  #prepared: { readonly flags: readonly GssFlag[]; readonly context: GssContext } | undefined

  private constructor(gss: GssApi, handle: GssCredentialHandle, { host, options }: GssIdentityOptions) {
    this.#gss = gss
    this.#handle = handle
    this.#delegate = options.gssdelegation
    this.target = options.krbspn === undefined ? { service: options.krbsrvname, host } : { principal: options.krbspn }
  }

  /**
   * Checks the ticket of a Kerberos credential and acquires it. With a credential of another kind (a password under
   * `gssencmode`) it is the ticket that krb5 finds by default, unchecked, as in libpq.
   *
   * @throws TICKET_…, KEYTAB_…, PRINCIPAL_…, KDC_…, PACKAGE_MISSING, GSS_LIBRARY_MISSING
   */
  static async open(credential: Credential, options: GssIdentityOptions, signal: AbortSignal): Promise<GssIdentity> {
    const gss = await loadGssApi()
    const { handle } =
      credential.kind === 'gss'
        ? await openCredential(gss, credential, { signal })
        : { handle: await gss.acquireCredential({ signal }) }
    return new GssIdentity(gss, handle, options)
  }

  /** The principal of the ticket, where it is known. */
  get principal(): string | undefined {
    return this.#handle.principal
  }

  /** Begins what {@link context} with the same flags will need, for a connection that is about to be opened. */
  prepare(flags: readonly GssFlag[], signal: AbortSignal): void {
    this.#prepared?.context[Symbol.dispose]()
    const context = this.#newContext(flags)
    this.#prepared = { flags, context }
    context.prepare?.({ signal })
  }

  /** A context, which the caller disposes of. Its first step is due. */
  context(flags: readonly GssFlag[]): GssContext {
    const prepared = this.#prepared
    if (prepared?.flags !== flags) return this.#newContext(flags)
    this.#prepared = undefined
    return prepared.context
  }

  #newContext(flags: readonly GssFlag[]): GssContext {
    return this.#gss.initContext({
      target: this.target,
      flags: this.#delegate ? [...flags, 'delegate'] : flags,
      credential: this.#handle,
    })
  }

  [Symbol.dispose](): void {
    this.#prepared?.context[Symbol.dispose]()
    this.#handle[Symbol.dispose]()
  }
}
