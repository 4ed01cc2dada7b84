import type { PoolsmithError } from '../../errors.ts'
import { kerberosError } from '../errors.ts'
import type { KerberosFacts } from '../facts.ts'
import { type CacheContents, storeTicket, ticketOf } from './krb5-cache.ts'
import { entriesOf } from './krb5-keytab.ts'
import type { Operation } from './krb5-operation.ts'
import { callAsync, type Pointer } from './load.ts'

/** The proof of identity for the KDC: a keytab, or a password in UTF-8 that ends with NUL and is overwritten after use. */
export type TicketKey = { readonly keytab: string } | { readonly password: Uint8Array }

export interface ObtainOptions {
  /** In full: `alice@EXAMPLE.COM`. */
  readonly principal: string
  readonly key: TicketKey
  /** The cache that the ticket is meant for, for messages: `into` may stand in its place for a moment. */
  readonly cache: string
  /** Default: as krb5.conf and the KDC have it. */
  readonly lifetimeSeconds?: number | undefined
  readonly renewableSeconds?: number | undefined
  readonly forwardable?: boolean | undefined
}

export interface RenewOptions {
  /** The cache with the ticket. */
  readonly from: string
  /** Its name for messages: `from` may be a copy. */
  readonly cache: string
}

const KT_NOTFOUND = -1765328203
/** KRB5KDC_ERR_PREAUTH_FAILED, KRB5KRB_AP_ERR_BAD_INTEGRITY: the key is not the principal's. */
const KEY_REFUSED: ReadonlySet<number> = new Set([-1765328360, -1765328353])

/** A first ticket from a keytab or by a password (AS exchange, RFC 4120 3.1). */
export async function obtainTicket(operation: Operation, options: ObtainOptions, into: string): Promise<CacheContents> {
  const { principal, key, cache } = options
  const { functions, context } = operation
  const facts = { principal, cache, ...('keytab' in key ? { keytab: key.keytab } : {}) }
  const client = operation.principal(principal, facts)
  const request = operation.make('obtain', facts, (out) => functions.optAlloc(context, out))
  operation.defer(() => functions.optFree(context, request))
  if (options.lifetimeSeconds !== undefined) functions.optSetTktLife(request, options.lifetimeSeconds)
  if (options.renewableSeconds !== undefined) functions.optSetRenewLife(request, options.renewableSeconds)
  if (options.forwardable !== undefined) functions.optSetForwardable(request, options.forwardable ? 1 : 0)

  const creds = Buffer.alloc(functions.sizes.creds)
  if ('keytab' in key) {
    const keys = operation.keytab(key.keytab, facts)
    const code = await callAsync(functions.getInitCredsKeytab, context, creds, client, keys, 0, null, request)
    if (code !== 0) throw keytabError(operation, code, { ...facts, keytab: key.keytab })
  } else {
    const { password } = key
    const call = functions.getInitCredsPassword
    try {
      const code = await callAsync(call, context, creds, client, password, null, null, 0, null, request)
      operation.check('sign-in', code, facts)
    } finally {
      password.fill(0)
    }
  }
  return kept(operation, into, client, creds, facts)
}

/** The error of a refused key: what the keytab holds says more than the code. */
function keytabError(
  operation: Operation,
  code: number,
  facts: KerberosFacts & { readonly principal: string; readonly keytab: string },
): PoolsmithError {
  const entries = entriesOf(operation, facts.keytab)
  const own = entries.filter(({ principal }) => principal === facts.principal)
  const error = operation.error('obtain', code, {
    ...facts,
    ...(code === KT_NOTFOUND ? { keytabPrincipals: [...new Set(entries.map(({ principal }) => principal))] } : {}),
    ...(KEY_REFUSED.has(code) ? { kvno: Math.max(...own.map(({ kvno }) => kvno)) } : {}),
  })
  const keytabTypes = [...new Set(own.map(({ encryptionType }) => encryptionType))]
  const permitted = operation.permittedTypes()
  // The library looks only for keys of the types that it and the KDC may use.
  const isType =
    error.code === 'ENCRYPTION_TYPE_REFUSED' ||
    (own.length > 0 &&
      (code === KT_NOTFOUND || (permitted.length > 0 && !keytabTypes.some((type) => permitted.includes(type)))))
  return isType ? kerberosError('ENCRYPTION_TYPE_REFUSED', { ...facts, keytabTypes }, { cause: error }) : error
}

/** The ticket of a cache, renewed (RFC 4120 2.3). */
export async function renewTicket(
  operation: Operation,
  { from, cache }: RenewOptions,
  into: string,
): Promise<CacheContents> {
  const { functions, context } = operation
  const source = operation.cache(from, 'read-cache', { cache })
  const client = operation.ownerOf(source, 'read-cache', { cache })
  const facts = { cache, principal: operation.nameOf(client) }
  const creds = Buffer.alloc(functions.sizes.creds)
  const code = await callAsync(functions.getRenewedCreds, context, creds, client, source, null)
  operation.check('renew', code, facts)
  return kept(operation, into, client, creds, facts)
}

/** Stores a new ticket, and returns it. */
function kept(
  operation: Operation,
  into: string,
  client: Pointer,
  creds: Uint8Array,
  facts: KerberosFacts & { readonly principal: string; readonly cache: string },
): CacheContents {
  const { functions, context } = operation
  operation.defer(() => functions.freeCredContents(context, creds))
  storeTicket(operation, into, client, creds, facts)
  const clockOffsetMillis = operation.clockOffset()
  const ticket = ticketOf(operation, functions.decodeCreds(creds), clockOffsetMillis)
  return { cache: facts.cache, principal: facts.principal, tickets: [ticket], clockOffsetMillis }
}
