import { PoolsmithError } from '../../errors.ts'
import type { KerberosFacts } from '../facts.ts'
import { type GssTarget, targetName } from '../gss-api.ts'
import { type CacheChoice, findCache } from './krb5-cache.ts'
import type { Operation } from './krb5-operation.ts'
import { callAsync, type Out, type Pointer } from './load.ts'

/** A service on a host (RFC 4120 6.2, NT-SRV-HST), as GSSAPI's host-based names become. */
const NT_SRV_HST = 3

export interface ServiceOptions extends CacheChoice {
  readonly target: GssTarget
  readonly facts: KerberosFacts
}

/**
 * Obtains the ticket for a service and stores it in the cache (TGS exchange, RFC 4120 3.3), before GSSAPI looks there.
 * GSSAPI would ask for the same ticket, but keeps the text of a failure, which names realm and principal, for its
 * thread alone. A cache that cannot be read is left to GSSAPI, whose errors tell the kinds of caches apart.
 */
export async function obtainServiceTicket(operation: Operation, options: ServiceOptions): Promise<void> {
  const { target, facts } = options
  const { functions, context } = operation
  const source = sourceOf(operation, options)
  if (source === undefined) return
  const out: Out<Pointer | null> = [null]
  const code =
    'principal' in target
      ? functions.parseName(context, target.principal, out)
      : // It resolves the host's name, unless krb5.conf forbids that.
        await callAsync(functions.snameToPrincipal, context, target.host, target.service, NT_SRV_HST, out)
  operation.check('init', code, facts)
  const [server] = out
  if (server === null) return
  operation.defer(() => functions.freePrincipal(context, server))
  const question = functions.encodeCreds({ client: source.client, server })
  const ticket: Out<Pointer | null> = [null]
  const asked = await callAsync(functions.getCredentials, context, 0, source.cache, question, ticket)
  if (ticket[0] !== null) functions.freeCreds(context, ticket[0])
  operation.check('init', asked, { ...facts, service: operation.nameOf(server) })
}

function sourceOf(operation: Operation, { cache, principal, target }: ServiceOptions) {
  try {
    const facts = { cache, principal, spn: targetName(target) }
    const found = findCache(operation, { cache, principal })
    return { cache: found, client: operation.ownerOf(found, 'read-cache', facts) }
  } catch (error) {
    if (error instanceof PoolsmithError) return undefined
    throw error
  }
}
