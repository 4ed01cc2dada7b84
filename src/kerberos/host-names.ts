import { lookup, lookupService } from 'node:dns/promises'
import { isIP } from 'node:net'
import { orAbort } from '../abort.ts'

/** A host, its addresses, and their reverse names. */
export interface HostNames {
  readonly host: string
  readonly addresses: readonly {
    readonly address: string
    /** Its reverse name; absent when it has none. */
    readonly name?: string
  }[]
  /** Whether krb5 replaces the host by its canonical name (`dns_canonicalize_hostname`: true, false or fallback). */
  readonly canonicalise: string
  /** Whether it then takes the reverse name (`rdns`). */
  readonly reverse: boolean
}

export interface NamesProblem {
  readonly message: string
  readonly hint: string
}

/** Resolves a host forward and in reverse, as krb5 does to find the service's principal. */
export async function namesOf(
  host: string | undefined,
  { canonicalise, reverse }: { readonly canonicalise: string; readonly reverse: boolean },
  signal: AbortSignal,
): Promise<{ readonly names?: HostNames; readonly problems: readonly NamesProblem[] }> {
  if (host === undefined || host.startsWith('/')) return { problems: [] }
  const problems: NamesProblem[] = []
  if (isIP(host) !== 0) {
    problems.push({
      message: `The host is an address (${host}); principals have names.`,
      hint: "Connect by the name in the server's principal, or set that principal in full.",
    })
  }
  // getaddrinfo cannot be stopped; a name that arrives too late is left out.
  const inTime = <T>(promise: Promise<T>): Promise<T | undefined> => orAbort(promise, signal).catch(() => undefined)
  const found = (await inTime(lookup(host, { all: true, order: 'verbatim' }))) ?? []
  const addresses = await Promise.all(
    found.map(async ({ address }) => {
      const service = await inTime(lookupService(address, 0))
      // Without a name getnameinfo returns the address.
      const named = service !== undefined && service.hostname !== address
      return named ? { address, name: service.hostname } : { address }
    }),
  )
  if (found.length === 0) {
    problems.push({
      message: `The host name ${host} cannot be resolved.`,
      hint: 'Check its spelling and the name servers; krb5 asks for the principal of the name as it was given.',
    })
  }
  if (canonicalise !== 'false' && reverse) {
    for (const { address, name } of addresses) {
      if (name === undefined || name.toLowerCase() === host.toLowerCase()) continue
      problems.push({
        message: `${host} is ${address}, whose reverse name is ${name}: krb5 asks for the principal of that name.`,
        hint: 'Connect by the name in the principal, or set rdns = false (and dns_canonicalize_hostname = false) in krb5.conf.',
      })
    }
  }
  return { names: { host, addresses, canonicalise, reverse }, problems }
}
