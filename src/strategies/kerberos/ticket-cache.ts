import { randomUUID } from 'node:crypto'
import type { CredentialSource } from '../../credentials/credential.ts'
import { endingSource } from '../../credentials/ending-source.ts'
import { forgetTickets } from '../../kerberos/ensure-ticket.ts'

/** How long to wait for a KDC; krb5 itself waits half a minute or more for a silent one. */
export const KDC_LIMIT_MILLIS = 8000

export interface TicketCache {
  /** The cache's name; undefined leaves the choice to krb5. */
  readonly name: string | undefined
  /** Whether it is in memory, for one pool or one login alone. */
  readonly isOwn: boolean
  /** The source, which at its end removes the tickets that its pool alone has in memory. */
  endWith(source: CredentialSource): CredentialSource
}

/**
 * The cache of a pool's tickets: the one that the options name, one in memory with a keytab or where that is asked for,
 * else the environment's.
 */
export function ticketCache(
  options: {
    readonly keytab?: string | undefined
    readonly ccache?: string | undefined
    readonly inMemory?: boolean
  },
  environment: Readonly<Record<string, string | undefined>>,
): TicketCache {
  const own =
    (options.keytab !== undefined || options.inMemory === true) && options.ccache === undefined
      ? `MEMORY:poolsmith-${randomUUID()}`
      : undefined
  return {
    name: options.ccache ?? own ?? cacheIn(environment),
    isOwn: own !== undefined,
    endWith: (source) => (own === undefined ? source : endingSource(source, () => forget(own))),
  }
}

/** Removes the pool's own tickets from memory. */
function forget(cache: string): void {
  // Without the library there are no tickets either.
  forgetTickets(cache).catch(() => undefined)
}

/** krb5 reads the process' own environment itself, and then also searches a collection for the principal. */
function cacheIn(environment: Readonly<Record<string, string | undefined>>): string | undefined {
  const { KRB5CCNAME } = environment
  return KRB5CCNAME === process.env.KRB5CCNAME || KRB5CCNAME === '' ? undefined : KRB5CCNAME
}
