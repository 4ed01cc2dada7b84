import { randomUUID } from 'node:crypto'
import type { CredentialSource } from '../credentials/credential.ts'
import { endingSource } from '../credentials/ending-source.ts'
import { forgetTickets } from '../kerberos/ensure-ticket.ts'

/** How long we wait for a KDC; with a silent one krb5 itself takes half a minute and more. */
export const KDC_LIMIT_MILLIS = 8000

export interface TicketCache {
  /** The cache's name; undefined leaves the choice to krb5. */
  readonly name: string | undefined
  /** The source, at whose end the tickets are taken out of memory that are there for its pool alone. */
  endWith(source: CredentialSource): CredentialSource
}

/** Where a pool's tickets are: where the options say, in memory of its own with a keytab, else where the environment says. */
export function ticketCache(
  options: { readonly keytab?: string | undefined; readonly ccache?: string | undefined },
  environment: Readonly<Record<string, string | undefined>>,
): TicketCache {
  const own =
    options.keytab !== undefined && options.ccache === undefined ? `MEMORY:poolsmith-${randomUUID()}` : undefined
  return {
    name: options.ccache ?? own ?? cacheIn(environment),
    endWith: (source) => (own === undefined ? source : endingSource(source, () => forget(own))),
  }
}

/** Takes the pool's own tickets out of memory. */
function forget(cache: string): void {
  // Without the library there are no tickets either.
  forgetTickets(cache).catch(() => undefined)
}

/** krb5 reads the process' own environment itself, and then also searches a collection for the principal. */
function cacheIn(environment: Readonly<Record<string, string | undefined>>): string | undefined {
  const { KRB5CCNAME } = environment
  return KRB5CCNAME === process.env.KRB5CCNAME || KRB5CCNAME === '' ? undefined : KRB5CCNAME
}
