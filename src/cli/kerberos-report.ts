/** The part of `poolsmith check` about Kerberos, for people and for programs. */

import type { Connection } from '../connections/connection.ts'
import { parseFields, type ValuesOf } from '../connections/fields.ts'
import { postgresFields } from '../drivers/postgres/options.ts'
import { sqlServerFields } from '../drivers/sqlserver/options.ts'
import { PoolsmithError } from '../errors.ts'
import { type DiagnoseRequest, diagnose, type KdcReport, type KerberosReport } from '../kerberos/diagnose.ts'
import type { GssTarget } from '../kerberos/gss-api.ts'
import { principalOf } from '../strategies/kerberos/fields.ts'
import { KerberosPassword } from '../strategies/kerberos/password.ts'
import { kerberos } from '../strategies/kerberos.ts'
import { moment, rows } from './layout.ts'
import type { Screen } from './terminal.ts'

/** A session as pg_stat_gssapi shows it. */
export interface ServerView {
  readonly authenticated: boolean
  readonly principal: string | null
  readonly encrypted: boolean
}

export interface KerberosFindings {
  readonly report: KerberosReport
  readonly server?: ServerView | undefined
  readonly trace?: readonly string[] | undefined
}

/** The server's view of the session that asks. */
export const SERVER_VIEW =
  'select gss_authenticated as authenticated, principal, encrypted from pg_stat_gssapi where pid = pg_backend_pid()'

/**
 * Looks at everything that a login to this connection's server needs.
 *
 * @param failure of the session, where there is none
 */
export function reportOn(
  connection: Connection,
  environment: Readonly<Record<string, string | undefined>>,
  signal: AbortSignal,
  failure?: unknown,
): Promise<KerberosReport> {
  const { host = 'localhost' } = connection
  const { values } = parseFields(kerberos.fields, connection.extra)
  const password = passwordOf(connection, values, failure)
  const request: DiagnoseRequest = {
    target: targetOf(connection, host),
    host,
    principal: password === undefined ? values.principal : principalOf(connection, values),
    cache: values.ccache ?? (password === undefined ? cacheIn(environment) : undefined),
    keytab: values.keytab,
    password,
    signal,
  }
  return diagnose(request).catch((error: unknown) => {
    // Without the library Kerberos cannot be checked, but there may be a session.
    if (!(error instanceof PoolsmithError) || error.code === 'ABORTED') throw error
    const { code, message, hint } = error
    return { kdcs: [], problems: [{ code, message, hint }] }
  })
}

/** A password is for the KDC under `auth_method=kerberos` alone, and one that it has just refused is not sent again. */
function passwordOf(connection: Connection, options: ValuesOf<typeof kerberos.fields>, failure: unknown) {
  const isKerberos = [kerberos.name, ...(kerberos.aliases ?? [])].includes(String(connection.extra['auth_method']))
  const password = isKerberos ? KerberosPassword.of(connection, options) : undefined
  if (password === undefined) return undefined
  const refused = failure instanceof PoolsmithError && failure.code === 'CREDENTIAL_REFUSED'
  return () => (refused ? Promise.reject(failure) : password.current())
}

function cacheIn({ KRB5CCNAME }: Readonly<Record<string, string | undefined>>): string | undefined {
  return KRB5CCNAME === process.env.KRB5CCNAME || KRB5CCNAME === '' ? undefined : KRB5CCNAME
}

function targetOf({ type, port, extra }: Connection, host: string): GssTarget | undefined {
  if (type === 'mssql') {
    const { mssql_spn: spn, instance_name: instance } = parseFields(sqlServerFields, extra).values
    return spn === undefined ? { service: 'MSSQLSvc', host: `${host}:${port ?? instance ?? 1433}` } : { principal: spn }
  }
  if (host.startsWith('/')) return undefined
  const { krbspn, krbsrvname } = parseFields(postgresFields, extra).values
  return krbspn === undefined ? { service: krbsrvname, host } : { principal: krbspn }
}

const iso = (millis: number): string => new Date(millis).toISOString()

/** For `--json`. */
export function kerberosData({ report, server, trace }: KerberosFindings): Record<string, unknown> {
  const { ticket, keytab } = report
  return {
    ...report,
    ...(ticket === undefined
      ? {}
      : { ticket: { ...ticket, startsAt: iso(ticket.startsAt), expiresAt: iso(ticket.expiresAt) } }),
    ...(keytab === undefined
      ? {}
      : {
          keytab: {
            ...keytab,
            entries: keytab.entries.map((entry) => ({ ...entry, writtenAt: iso(entry.writtenAt) })),
          },
        }),
    server,
    trace,
  }
}

export function kerberosText({ report, server, trace }: KerberosFindings, screen: Screen): string {
  const { realm, ticket, service, names, kdcs, clockOffsetMillis, keytab, problems } = report
  const lines = [
    screen.style('bold', 'kerberos'),
    rows(
      [
        ['realm', realm],
        [
          'ticket',
          ticket === undefined
            ? 'none that can be used'
            : `${ticket.principal} in ${ticket.cache}, ${ticket.encryptionType}, until ${moment(ticket.expiresAt)}`,
        ],
        [
          'service',
          service === undefined
            ? undefined
            : service.principal === undefined
              ? `${service.asked}: no ticket for it`
              : `${service.asked}, that is ${service.principal}`,
        ],
        ['names', namesText(names)],
        ...kdcs.map((kdc) => ['kdc', kdcText(kdc)] as const),
        ['clock', clockText(clockOffsetMillis)],
        ...keytabRows(keytab),
        ['server sees', serverText(server)],
      ],
      screen.width,
    ),
  ]
  for (const { code, message, hint } of problems) {
    lines.push(
      screen.style(
        'yellow',
        rows(
          [
            [code, message],
            ['', hint],
          ],
          screen.width,
        ),
      ),
    )
  }
  if (trace !== undefined) {
    lines.push(screen.style('bold', 'trace'))
    // Not wrapped, so that it can be searched.
    for (const step of trace) lines.push(`  ${step}`)
  }
  return lines.join('\n')
}

function namesText(names: KerberosReport['names']): string | undefined {
  if (names === undefined) return undefined
  const { host, addresses, canonicalise, reverse } = names
  const resolved = addresses.map(({ address, name }) => `${address} (in reverse ${name ?? 'without a name'})`)
  const how =
    canonicalise === 'false'
      ? 'krb5 takes the host as it is'
      : `krb5 ${canonicalise === 'fallback' ? 'tries the host as it is, then' : 'takes'} its ${reverse ? 'reverse' : 'canonical'} name`
  return `${host} is ${resolved.join(', ') || 'not resolved'}; ${how}`
}

function kdcText({ address, udp, tcp }: KdcReport): string {
  const by = (transport: string, answer: number | string): string =>
    `${transport} ${typeof answer === 'number' ? `answers in ${answer} ms` : answer}`
  return `${address}: ${by('UDP', udp)}, ${by('TCP', tcp)}`
}

function clockText(offset: number | undefined): string | undefined {
  if (offset === undefined) return undefined
  const seconds = Math.abs(offset) / 1000
  return seconds < 2
    ? 'the same as the KDC, to a second'
    : `the KDC is ${seconds.toFixed(0)} s ${offset > 0 ? 'ahead of' : 'behind'} us`
}

function keytabRows(keytab: KerberosReport['keytab']): (readonly [string, string])[] {
  if (keytab === undefined) return []
  return keytab.entries.map(({ principal, kvno, encryptionType, accepted }) => [
    'keytab',
    `${principal}, kvno ${kvno}, ${encryptionType}${accepted === undefined ? '' : `, a type that the KDC ${accepted ? 'accepts' : 'does not accept'}`}`,
  ])
}

function serverText(server: ServerView | undefined): string | undefined {
  if (server === undefined) return undefined
  const { authenticated, principal, encrypted } = server
  const who = authenticated ? `${principal}, proved by Kerberos` : 'no Kerberos login'
  return `${who}; ${encrypted ? 'encrypted by it' : 'not encrypted by it'} (pg_stat_gssapi)`
}
