import type { KerberosFacts } from '../errors.ts'
import { codeOf } from '../status.ts'
import { type CacheContents, storeTicket, ticketOf } from './krb5-cache.ts'
import { entriesOf } from './krb5-keytab.ts'
import type { Operation } from './krb5-operation.ts'
import { callAsync, type Pointer } from './load.ts'

export interface ObtainOptions {
  /** In full: `alice@EXAMPLE.COM`. */
  readonly principal: string
  readonly keytab: string
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

/** A first ticket from a keytab (AS exchange, RFC 4120 3.1). */
export async function obtainTicket(operation: Operation, options: ObtainOptions, into: string): Promise<CacheContents> {
  const { principal, keytab, cache } = options
  const { functions, context } = operation
  const facts = { principal, keytab, cache }
  const client = operation.principal(principal, facts)
  const keys = operation.keytab(keytab, facts)
  const request = operation.make('obtain', facts, (out) => functions.optAlloc(context, out))
  operation.defer(() => functions.optFree(context, request))
  if (options.lifetimeSeconds !== undefined) functions.optSetTktLife(request, options.lifetimeSeconds)
  if (options.renewableSeconds !== undefined) functions.optSetRenewLife(request, options.renewableSeconds)
  if (options.forwardable !== undefined) functions.optSetForwardable(request, options.forwardable ? 1 : 0)

  const creds = Buffer.alloc(functions.sizes.creds)
  const code = await callAsync(functions.getInitCredsKeytab, context, creds, client, keys, 0, null, request)
  operation.check('obtain', code, { ...facts, ...keytabFacts(operation, code, facts) })
  return kept(operation, into, client, creds, facts)
}

/** The keys that the keytab has, where the right one is missing or refused. */
function keytabFacts(
  operation: Operation,
  code: number,
  { keytab, principal }: Pick<ObtainOptions, 'keytab' | 'principal'>,
): KerberosFacts {
  if (code === KT_NOTFOUND) {
    return { keytabPrincipals: [...new Set(entriesOf(operation, keytab).map((entry) => entry.principal))] }
  }
  if (codeOf({ call: 'obtain', minor: code, text: '' }) !== 'KEYTAB_REFUSED') return {}
  const own = entriesOf(operation, keytab).filter((entry) => entry.principal === principal)
  return { kvno: Math.max(...own.map(({ kvno }) => kvno)) }
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
