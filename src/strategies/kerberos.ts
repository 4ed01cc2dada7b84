import type { Connection } from '../connections/connection.ts'
import { list, path, seconds, text } from '../connections/fields.ts'
import type { GssCredential } from '../credentials/credential.ts'
import { refreshingSource } from '../credentials/refreshing-source.ts'
import { ensureTicket, type TicketPolicy } from '../kerberos/ensure-ticket.ts'
import { userOf } from '../kerberos/user-name.ts'
import { hasPassword, KerberosPassword, kerberosPasswordProblems, principalOf } from './kerberos-password.ts'
import { passwordFields, passwordProblems } from './password-source.ts'
import { refuse } from './refuse.ts'
import { defineStrategy } from './strategy.ts'
import { KDC_LIMIT_MILLIS, ticketCache } from './ticket-cache.ts'

/** How often a ticket that another program renews is looked at, in milliseconds: one short file is read. */
const RECHECK_MILLIS = 10_000
/** A ticket from the keytab is replaced when less than this share of its life is left. */
const REFRESH_BELOW = 0.5

export const kerberos = defineStrategy({
  name: 'kerberos',
  aliases: ['gss', 'gssapi'],
  dialects: ['postgres', 'mssql'],
  description:
    "A Kerberos ticket: from the cache that kinit or a sidecar fills, or obtained from a keytab or by the connection's password.",
  fields: {
    principal: text({
      description:
        'The client principal, `etl@EXAMPLE.COM`. Default: with a password the login, else the principal of the ticket cache.',
    }),
    keytab: path({
      description:
        'Obtains and renews the ticket from this keytab, without kinit. Default: none; the ticket must be in the cache.',
    }),
    ccache: path({
      description:
        'The ticket cache: a path, or `FILE:`, `DIR:`, `KEYRING:`, `MEMORY:` or `KCM:` with a name. Default: KRB5CCNAME ' +
        "or krb5.conf's; with a keytab or a password a cache in the pool's own memory.",
    }),
    ...passwordFields,
    min_ticket_lifetime: seconds({
      description: 'A ticket must be valid for this much longer, or no connection is tried.',
      default: 30,
      min: 0,
    }),
    realm_suffixes: list({
      pattern: { matches: /^[^=]+=/, expected: 'REALM=suffix' },
      description:
        'The suffix of the user names of a realm, as `REALM=suffix`. Without one the user of `alice@ANY.REALM` is `alice`.',
    }),
  },
  check: (connection, options) => [
    ...passwordProblems(connection, options),
    ...kerberosPasswordProblems(connection, options),
  ],
  credentials(connection, options, { emit, environment }) {
    refuse([...passwordProblems(connection, options), ...kerberosPasswordProblems(connection, options)])
    const suffixes = suffixesOf(options.realm_suffixes ?? [])
    const { keytab } = options
    const password = KerberosPassword.of(connection, options)
    const cache = ticketCache({ ...options, inMemory: password !== undefined }, environment)
    let principal = principalOf(connection, options)
    const source = refreshingSource({
      emit,
      subject: 'The Kerberos ticket could not be obtained',
      ...(keytab === undefined && password === undefined ? { recheckMillis: RECHECK_MILLIS } : {}),
      async fetch(signal): Promise<GssCredential> {
        const { min_ticket_lifetime: minimumLifetimeSeconds } = options
        const policy: TicketPolicy = {
          principal,
          cache: cache.name,
          keytab,
          password: password && (() => password.current()),
          minimumLifetimeSeconds,
        }
        const ticket = await ensureTicket(policy, {
          signal: AbortSignal.any([signal, AbortSignal.timeout(KDC_LIMIT_MILLIS)]),
          refreshBelow: REFRESH_BELOW,
        }).catch((error: unknown) => {
          throw password === undefined ? error : password.failed(error)
        })
        // Once known it stays: a cache that gets another principal under a pool is an error, and not another user.
        principal ??= ticket.principal
        return {
          kind: 'gss',
          identity: ticket.principal,
          user: namesUser(connection, options) ?? userOf(ticket.principal, suffixes),
          principal: ticket.principal,
          cache: ticket.cache,
          ...keytabOf(keytab ?? ticket.keytab),
          // With a password only this source obtains a new ticket: it does so before too little is left.
          ...(password === undefined ? { minimumLifetimeSeconds } : {}),
          issuedAt: ticket.startsAt,
          expiresAt: ticket.expiresAt - (password === undefined ? 0 : minimumLifetimeSeconds * 1000),
        }
      },
    })
    return cache.endWith(source)
  },
})

const keytabOf = (keytab: string | undefined): { keytab?: string } => (keytab === undefined ? {} : { keytab })

/** The database user that the login names, unless it names the principal. */
function namesUser(
  connection: Connection,
  options: { readonly principal?: string | undefined; readonly password_file?: string | undefined },
): string | undefined {
  return hasPassword(connection, options) && options.principal === undefined ? undefined : connection.login
}

function suffixesOf(given: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    given.map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]),
  )
}
