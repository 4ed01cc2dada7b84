import { randomUUID } from 'node:crypto'
import { cachePath } from '../cache-name.ts'
import { type GssFlag, type GssMechanism, type GssTarget, targetName } from '../gss-api.ts'
import { usesGssproxy } from '../gssproxy.ts'
import { defaultCache } from '../kcm-daemon.ts'
import { MemoryCache, packCache } from '../native/cache-transfer.ts'
import { acquireHere, type MitCredential } from '../native/gssapi-credential.ts'
import { loadNativeGss } from '../native/gssapi-load.ts'
import { NativeContext } from '../native/gssapi-native-context.ts'
import { Krb5 } from '../native/krb5.ts'
import type { CacheContents } from '../native/krb5-cache.ts'
import type { KeyChange, KeyChangeAnswer, NewKeys } from '../native/krb5-new-key.ts'
import type { ServiceOptions } from '../native/krb5-service.ts'
import type { ObtainOptions } from '../native/krb5-ticket.ts'

/**
 * The calls that ask a KDC, and so can hang. They run in a process of their own (ask.ts, process.ts); requests and
 * answers are plain values. A cache that this process cannot open comes and goes as its packed content.
 */

/** Where a new ticket goes; undefined: it is packed into the answer. */
interface Into {
  readonly into: string | undefined
}

export interface NewTicket {
  readonly contents: CacheContents
  readonly packed?: Uint8Array
}

export interface RenewRequest extends Into {
  readonly cache: string
  readonly packed: Uint8Array | undefined
}

export interface AcquireRequest {
  readonly principal: string | undefined
  readonly mechanism: GssMechanism | undefined
}

export interface OpenRequest {
  readonly credential: {
    readonly principal: string | undefined
    /** Undefined: the default credential. */
    readonly cache: string | undefined
    readonly packed: Uint8Array | undefined
  }
  readonly target: GssTarget
  readonly flags: readonly GssFlag[]
  readonly mechanism: GssMechanism
  readonly channelBindings: Uint8Array | undefined
}

export interface ReplyRequest {
  readonly context: string
  readonly token: Uint8Array
}

/** The result of a context's step. */
export interface ContextStep {
  /** The context's id, while it is not complete. */
  readonly context?: string
  readonly token: Uint8Array | undefined
  /** The context itself, once complete. */
  readonly exported?: Uint8Array
  /** The cache with the new tickets, when it came packed. */
  readonly packed?: Uint8Array
}

export const TASKS = {
  /** A first ticket from a keytab. */
  obtain: (request: ObtainOptions & Into): Promise<NewTicket> =>
    written(request, (krb5, into) => krb5.obtain(request, into)),

  /** The ticket of a cache, renewed. */
  renew: async (request: RenewRequest): Promise<NewTicket> => {
    const { cache, packed } = request
    using copy = packed === undefined ? undefined : await MemoryCache.make(packed)
    return await written(request, (krb5, into) => krb5.renew({ from: copy?.name ?? cache, cache }, into))
  },

  /** A new password by the key of a keytab. */
  changeKey: async (request: KeyChange): Promise<KeyChangeAnswer> => {
    using krb5 = await Krb5.open()
    return await krb5.changeKey(request)
  },

  /** The keys that belong to a password. */
  keysOf: async (request: { readonly principal: string; readonly password: Uint8Array }): Promise<NewKeys> => {
    using krb5 = await Krb5.open()
    return await krb5.keysOf(request)
  },

  /** Fills krb5's default cache from the default client keytab. */
  acquire: async (request: AcquireRequest): Promise<void> => {
    using credential = await acquireHere(await loadNativeGss(), request)
    await credential.inquireHere()
  },

  /** The first step of a security context. */
  open: async (request: OpenRequest): Promise<ContextStep> => {
    const { packed } = request.credential
    const context = new OpenContext(packed === undefined ? undefined : await MemoryCache.make(packed))
    return await context.advance(() => context.begin(request))
  },

  /** A further step, with the server's token. */
  reply: async ({ context: id, token }: ReplyRequest): Promise<ContextStep> => {
    const context = contexts.get(id)
    contexts.delete(id)
    if (context === undefined) throw new Error('There is no such security context')
    return await context.advance(() => context.reply(token))
  },

  /** Ends a context that is not complete. */
  leave: async ({ context: id }: { readonly context: string }): Promise<void> => {
    contexts.get(id)?.[Symbol.dispose]()
    contexts.delete(id)
  },
} as const

export type Tasks = typeof TASKS

async function written(
  { into }: Into,
  write: (krb5: Krb5, into: string) => Promise<CacheContents>,
): Promise<NewTicket> {
  using krb5 = await Krb5.open()
  if (into !== undefined) return { contents: await write(krb5, into) }
  using cache = await MemoryCache.make()
  const contents = await write(krb5, cache.name)
  return { contents, packed: await packCache(cache.name) }
}

/** The service's ticket, where it is certain which cache GSSAPI will take. */
async function ticketFor(target: GssTarget, options: Omit<ServiceOptions, 'target'>): Promise<void> {
  if (usesGssproxy()) return
  using krb5 = await Krb5.open()
  if (options.cache === undefined && cachePath(defaultCache(krb5)) === undefined) return
  await krb5.obtainFor({ target, ...options })
}

/** The contexts that wait for the server's token. */
const contexts = new Map<string, OpenContext>()

class OpenContext implements Disposable {
  readonly #cache: MemoryCache | undefined
  #credential: MitCredential | undefined
  #context: NativeContext | undefined

  constructor(cache: MemoryCache | undefined) {
    this.#cache = cache
  }

  async begin({ credential, target, flags, mechanism, channelBindings }: OpenRequest): Promise<ContextStep> {
    const native = await loadNativeGss()
    const { principal, cache } = credential
    const acquired = await acquireHere(native, { principal, cache, copy: this.#cache?.name, mechanism })
    this.#credential = acquired
    const facts = { principal, cache, spn: targetName(target) }
    await ticketFor(target, { principal, cache: this.#cache?.name ?? cache, facts })
    const context = { target, flags, credential: acquired, mechanism, channelBindings, facts }
    this.#context = new NativeContext(native, context)
    const { token } = await this.#context.step(undefined)
    return { token, packed: this.#cache === undefined ? undefined : await packCache(this.#cache.name) }
  }

  async reply(received: Uint8Array): Promise<ContextStep> {
    return { token: (await this.#context?.step(received))?.token }
  }

  /** Takes a step, and keeps the context for the next one, exports it, or ends it. */
  async advance(take: () => Promise<ContextStep>): Promise<ContextStep> {
    let ends = true
    try {
      const step = await take()
      if (this.#context?.complete === true) return { ...step, exported: this.#context.export() }
      ends = false
      const id = randomUUID()
      contexts.set(id, this)
      return { ...step, context: id }
    } finally {
      if (ends) this[Symbol.dispose]()
    }
  }

  [Symbol.dispose](): void {
    this.#context?.[Symbol.dispose]()
    this.#credential?.[Symbol.dispose]()
    this.#cache?.[Symbol.dispose]()
  }
}
