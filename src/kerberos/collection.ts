import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { collectionOf } from './cache-name.ts'
import { defaultCache } from './kcm-daemon.ts'
import type { Krb5 } from './native/krb5.ts'
import type { CacheChoice } from './native/krb5-cache.ts'
import { ownerOf } from './ticket.ts'

/**
 * The full name of the cache for a principal's ticket. As kinit does, a principal without a cache in a collection gets
 * a new one there, and the ticket of no other principal is replaced.
 */
export function cacheFor(krb5: Krb5, choice: CacheChoice): string {
  const found = krb5.cacheName(choice)
  const { principal } = choice
  const collection = choice.cache ?? defaultCache(krb5)
  if (principal === undefined || collectionOf(collection) !== collection) return found
  const owner = ownerOf(krb5, found)
  return owner === undefined || owner === principal ? found : newMember(collection, principal)
}

/** Always the same name, so that all updaters share its lock. */
function newMember(collection: string, principal: string): string {
  const name = createHash('sha256').update(principal).digest('hex').slice(0, 12)
  if (collection.startsWith('DIR:')) return `DIR::${join(collection.slice('DIR:'.length), `tkt${name}`)}`
  return collection.startsWith('KEYRING:')
    ? `${collection}:${name}`
    : `${collection}${process.geteuid?.() ?? ''}:${name}`
}
