/** The parts of the full name of a ticket cache. */

import { basename, dirname, join } from 'node:path'

/** The file behind a cache's full name (`FILE:path`, `DIR::path`, a plain path); undefined for other kinds. */
export function cachePath(cache: string): string | undefined {
  if (cache.startsWith('FILE:')) return cache.slice('FILE:'.length)
  if (cache.startsWith('DIR::')) return cache.slice('DIR::'.length)
  return /^[A-Z]+:/.test(cache) ? undefined : cache
}

/**
 * A file for the work of updaters beside a cache's file; undefined for other kinds of caches. In a DIR collection its
 * name begins with a dot, since krb5 takes all files there that begin with `tkt` for caches.
 */
export function besideCache(cache: string, suffix: 'lock' | 'leader'): string | undefined {
  const path = cachePath(cache)
  if (path === undefined) return undefined
  return cache.startsWith('DIR:') ? join(dirname(path), `.${basename(path)}.${suffix}`) : `${path}.${suffix}`
}

/** The collection that a cache is a member of, or is itself; undefined for other kinds. */
export function collectionOf(cache: string): string | undefined {
  if (cache.startsWith('DIR::')) return `DIR:${dirname(cache.slice('DIR::'.length))}`
  if (cache.startsWith('DIR:')) return cache
  if (/^(KCM|API):/.test(cache)) return cache.slice(0, cache.indexOf(':') + 1)
  return /^KEYRING:[^:]+:[^:]+/.exec(cache)?.[0]
}
