/** `require_auth`: the login methods that the server may ask for (libpq's rules, PostgreSQL 16). */

const METHODS = ['password', 'md5', 'gss', 'sspi', 'scram-sha-256', 'none'] as const
export type AuthMethod = (typeof METHODS)[number]

export interface AuthPolicy {
  /** Whether the server may ask for this method. */
  allows(method: Exclude<AuthMethod, 'none'>): boolean
  /** Whether the server may accept the login without asking for a proof (trust, peer, client certificate). */
  readonly allowsNone: boolean
  /** The setting as given, for messages. */
  readonly text: string
}

/** Parses the list; returns a string that says what is wrong with it. Undefined allows every method. */
export function parseRequireAuth(items: readonly string[] | undefined): AuthPolicy | string {
  if (items === undefined || items.length === 0) return { allows: () => true, allowsNone: true, text: '' }
  const negated = items[0]?.startsWith('!') ?? false
  const named = new Set<AuthMethod>()
  for (const item of items) {
    if (item.startsWith('!') !== negated) return `${item} cannot be mixed with ${items[0]}: negate all or none`
    const word = negated ? item.slice(1) : item
    const method = METHODS.find((candidate) => candidate === word)
    if (method === undefined) return `unknown method ${word}; known are ${METHODS.join(', ')}`
    if (named.has(method)) return `${item} is given twice`
    named.add(method)
  }
  return {
    allows: (method) => named.has(method) !== negated,
    allowsNone: named.has('none') !== negated,
    text: items.join(','),
  }
}
