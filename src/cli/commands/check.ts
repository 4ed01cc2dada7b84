import { isError } from '../../any-error.ts'
import type { Dialect } from '../../connections/connection.ts'
import type { EncryptionInfo, ProxyInfo } from '../../drivers/driver.ts'
import { createEngine, type Engine } from '../../engine/knex/create-engine.ts'
import { type Phase, PoolsmithError } from '../../errors.ts'
import { startTrace, type Trace } from '../../kerberos/trace.ts'
import type { ConnectionInfo, PlaceVisit } from '../../pool/types.ts'
import { printable } from '../../printable.ts'
import type { Call, Command, Outcome } from '../command.ts'
import {
  type KerberosFindings,
  kerberosData,
  kerberosText,
  reportOn,
  SERVER_VIEW,
  type ServerView,
} from '../kerberos-report.ts'
import { duration, moment, rows } from '../layout.ts'
import { type Notice, noticeListeners } from '../notices.ts'
import { placesData, placesText } from '../places-report.ts'
import { CONNECTION_ARGUMENT, STORE_OPTIONS, storesOf, TIMEOUT_OPTION, timeoutOf } from '../shared-options.ts'
import type { Screen } from '../terminal.ts'

export const checkCommand: Command = {
  name: 'check',
  summary: 'Connect once and show how: server, strategy, identity, encryption, times.',
  description: 'A failure is reported with its phase, its cause and what to do; each phase has its own exit code.',
  positionals: [CONNECTION_ARGUMENT],
  options: {
    trace: { type: 'boolean', description: 'Kerberos: show every step of the library (KRB5_TRACE).' },
    ...TIMEOUT_OPTION,
    ...STORE_OPTIONS,
  },
  run: async (call) => {
    if (call.values.trace !== true) return check(call)
    await using trace = await startTrace()
    return await check(call, trace)
  },
}

async function check(call: Call, trace?: Trace): Promise<Outcome> {
  const { positionals, signal, terminal } = call
  const [input = ''] = positionals
  const notices: Notice[] = []
  const timings: Partial<Record<Phase, number>> = {}
  const started = performance.now()

  await using db = await createEngine(input, {
    pool_size: 1,
    max_overflow: 0,
    pool_min_idle: 0,
    ...timeoutOf(call),
    stores: storesOf(call),
    on: {
      ...noticeListeners((notice) => notices.push(notice), terminal.log),
      'credential:refreshed': ({ durationMillis }) => {
        timings.credential = durationMillis
      },
    },
  })
  const { connection, strategy } = db
  // Whether the session or the login may use Kerberos.
  const withKerberos = strategy === 'kerberos' || (connection.extra['gssencmode'] ?? 'disable') !== 'disable'
  const findings = async (server?: ServerView, failure?: unknown): Promise<KerberosFindings | undefined> =>
    withKerberos
      ? {
          report: await reportOn(connection, call.environment, signal, failure),
          server,
          trace: await trace?.lines(),
        }
      : undefined
  const session = await db.pool
    .use((raw) => db.pool.infoOf(raw), { signal })
    .catch(async (error: unknown) => {
      throw withFindings(error, await findings(undefined, error), call)
    })
  const totalMillis = performance.now() - started
  if (session === undefined) throw new Error('The pool does not know the connection that it has just handed out.')
  for (const [phase, millis] of Object.entries(session.timings) as [Phase, number][]) {
    timings[phase] = (timings[phase] ?? 0) + millis
  }
  const found: Finding = {
    // A single server has been visited already.
    visits: db.pool.stats().places.length > 1 ? await db.pool.visitPlaces() : [],
    name: connection.id,
    dialect: connection.type,
    strategy,
    session,
    timings,
    totalMillis,
    notices,
    kerberos: await findings(withKerberos && connection.type === 'postgres' ? await serverView(db) : undefined),
  }
  return { data: dataOf(found), text: textOf(found, terminal.out) }
}

/** The server's view of the session; undefined where the server has none. */
async function serverView(db: Engine): Promise<ServerView | undefined> {
  try {
    const { rows } = await db.raw(SERVER_VIEW)
    return rows[0]
  } catch (error) {
    // PostgreSQL before 12, or a role that may not look: the session stands all the same.
    if (isError(error)) return undefined
    throw error
  }
}

/** The error with the findings about Kerberos: printed before it as text, or inside it as JSON. */
function withFindings(error: unknown, findings: KerberosFindings | undefined, { values, terminal }: Call): unknown {
  if (findings === undefined || !(error instanceof PoolsmithError) || error.code === 'ABORTED') return error
  if (values.json !== true) {
    terminal.log.line(kerberosText(findings, terminal.log))
    return error
  }
  const { code, phase, hint, transient, details } = error
  return new PoolsmithError(error.message, {
    code,
    phase,
    transient,
    details: { ...details, kerberos: kerberosData(findings) },
    cause: error,
    ...(hint === undefined ? {} : { hint }),
  })
}

/** In the order in which they happen. */
const PHASES = ['credential', 'dns', 'proxy', 'connect', 'tls', 'gss', 'login'] as const satisfies readonly Phase[]

interface Finding {
  readonly name: string | undefined
  readonly dialect: Dialect
  readonly strategy: string
  readonly session: ConnectionInfo
  readonly timings: Readonly<Partial<Record<Phase, number>>>
  readonly totalMillis: number
  readonly notices: readonly Notice[]
  readonly kerberos: KerberosFindings | undefined
  /** The servers of a list. */
  readonly visits: readonly PlaceVisit[]
}

function dataOf(found: Finding): Record<string, unknown> {
  const { name, dialect, strategy, session, timings, totalMillis, notices, kerberos, visits } = found
  const rounded = (millis: number): number => Math.round(millis * 10) / 10
  return {
    ...(name === undefined ? {} : { connection: name }),
    server: {
      type: dialect,
      version: session.serverVersion,
      peer: session.peer,
      database: session.database,
      role: session.place?.role,
      processId: session.processId,
    },
    ...(session.proxy === undefined ? {} : { proxy: session.proxy }),
    strategy,
    authentication: session.authentication,
    user: session.user,
    identity: session.identity,
    encryption: withIsoTimes(session.encryption),
    credential: {
      kind: session.credentialKind,
      expiresAt: session.credentialExpiresAt === undefined ? null : new Date(session.credentialExpiresAt).toISOString(),
    },
    timingsMillis: {
      ...Object.fromEntries(Object.entries(timings).map(([phase, millis]) => [phase, rounded(millis)])),
      total: rounded(totalMillis),
    },
    ...(visits.length === 0 ? {} : { places: placesData(visits) }),
    notices,
    ...(kerberos === undefined ? {} : { kerberos: kerberosData(kerberos) }),
  }
}

/** Points in time as programs in every language read them. */
function withIsoTimes(encryption: EncryptionInfo): Record<string, unknown> {
  const convert = <C extends { readonly expiresAt: number }>(certificate: C | undefined): object | undefined =>
    certificate && { ...certificate, expiresAt: new Date(certificate.expiresAt).toISOString() }
  return {
    ...encryption,
    serverCertificate: convert(encryption.serverCertificate),
    clientCertificate: convert(encryption.clientCertificate),
  }
}

function textOf(found: Finding, screen: Screen): string {
  const { name, dialect, strategy, session, timings, totalMillis, notices, kerberos, visits } = found
  const { encryption } = session
  const steps = PHASES.flatMap((phase) => {
    const millis = timings[phase]
    return millis === undefined ? [] : [`${phase} ${duration(millis)}`]
  })
  const product = dialect === 'postgres' ? 'PostgreSQL' : 'SQL Server'
  const asked = session.authentication === 'none' ? 'the server asked for nothing more' : `by ${session.authentication}`
  const lines = [
    screen.style('green', `${printable(name ?? session.peer)}: connected in ${duration(totalMillis)}`),
    rows(
      [
        ['server', `${product} ${session.serverVersion} at ${session.peer}, database ${session.database}`],
        ['proxy', proxyText(session.proxy)],
        ['strategy', `${strategy} (${asked})`],
        ['identity', session.identity === session.user ? session.user : `${session.identity}, as user ${session.user}`],
        ['encryption', encryptionText(encryption)],
        ['server certificate', certificateText(encryption.serverCertificate)],
        ['client certificate', certificateText(encryption.clientCertificate)],
        ['credential', credentialText(session, encryption)],
        ['time', steps.join(', ')],
      ],
      screen.width,
    ),
  ]
  if (visits.length > 0) lines.push('', `${visits.length} hosts`, placesText(visits, screen.width))
  for (const { kind, message } of notices) {
    lines.push(screen.style('yellow', rows([[`${kind} warning`, message]], screen.width)))
  }
  if (kerberos !== undefined) lines.push(kerberosText(kerberos, screen))
  return lines.join('\n')
}

/** The proxy, how it was reached, and the login at it. */
function proxyText(proxy: ProxyInfo | undefined): string | undefined {
  if (proxy === undefined) return undefined
  const { url, tls, authentication, identity, mutual } = proxy
  const login = {
    none: 'without a login',
    basic: `by password as ${identity}`,
    kerberos: `by Kerberos as ${identity}`,
  }[authentication]
  const proof = mutual === undefined ? undefined : mutual ? 'which proved itself' : 'which gave no proof of itself'
  return [url, tls, login, proof].filter((part) => part !== undefined).join(', ')
}

function encryptionText(encryption: EncryptionInfo): string {
  if (encryption.kind === 'none') return 'none'
  const how = [encryption.kind === 'gss' ? 'Kerberos (GSSAPI)' : encryption.protocol, encryption.cipher]
  const verified = {
    hostname: 'certificate and host name verified',
    chain: 'certificate verified, host name not',
    exact: 'certificate is the one that was named',
    none: 'certificate not verified',
  }[encryption.verified ?? 'none']
  return [...how.filter((part) => part !== undefined), ...(encryption.kind === 'tls' ? [verified] : [])].join(', ')
}

function certificateText(certificate: EncryptionInfo['serverCertificate' | 'clientCertificate']): string | undefined {
  return certificate && `${certificate.subject}, until ${moment(certificate.expiresAt)}`
}

/** The credential and when it expires. A certificate has a row of its own. */
function credentialText(session: ConnectionInfo, encryption: EncryptionInfo): string | undefined {
  const { credentialKind: kind, credentialExpiresAt: expiresAt } = session
  if (kind === 'certificate' && encryption.clientCertificate !== undefined) return undefined
  return expiresAt === undefined ? `${kind}, without a known expiry` : `${kind}, until ${moment(expiresAt)}`
}
