import type { Connection } from '../../connections/connection.ts'
import type { CredentialSource, GssCredential } from '../../credentials/credential.ts'
import { refreshingSource } from '../../credentials/refreshing-source.ts'
import { ensureTicket, type TicketPolicy } from '../../kerberos/ensure-ticket.ts'
import { userOf } from '../../kerberos/user-name.ts'
import type { StrategyContext } from '../strategy.ts'
import { hasPassword, type KerberosKeys, type KerberosOptions, principalOf } from './fields.ts'
import { KerberosPassword } from './password.ts'
import { KDC_LIMIT_MILLIS, ticketCache } from './ticket-cache.ts'

/** How often a ticket that another program renews is looked at, in milliseconds: one short file is read. */
const RECHECK_MILLIS = 10_000
/** A ticket from the keytab is replaced when less than this share of its life is left. */
const REFRESH_BELOW = 0.5

/** The ticket of a pool: read from the cache before each connect, or obtained and renewed by a keytab or a password. */
export function ticketSource(
  connection: Connection,
  options: KerberosOptions,
  { emit, environment }: Pick<StrategyContext, 'emit' | 'environment'>,
): CredentialSource {
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
}

const keytabOf = (keytab: string | undefined): { keytab?: string } => (keytab === undefined ? {} : { keytab })

/** The database user that the login names, unless it names the principal. */
function namesUser(connection: Connection, options: KerberosKeys): string | undefined {
  return hasPassword(connection, options) && options.principal === undefined ? undefined : connection.login
}

function suffixesOf(given: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    given.map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]),
  )
}
