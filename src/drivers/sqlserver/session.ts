import type { Socket } from 'node:net'
import { hostname } from 'node:os'
import type { TLSSocket } from 'node:tls'
import { onAbort, orAbort, within } from '../../abort.ts'
import type { Credential } from '../../credentials/credential.ts'
import { PoolsmithError } from '../../errors.ts'
import { printable } from '../../printable.ts'
import type { EncryptionInfo, ProxyInfo } from '../driver.ts'
import { acknowledgements } from '../network/acknowledgement.ts'
import type { Dialer } from '../network/dialer.ts'
import { eachAddress } from '../network/each-address.ts'
import type { ProxyRouter } from '../network/proxy/tunnel.ts'
import type { Reachability } from '../network/reachability.ts'
import { type Lookup, ownEnd, resolveHost } from '../network/socket.ts'
import { describeTls } from '../network/tls.ts'
import type { Attempt } from '../places.ts'
import { channelBindings } from './channel-bindings.ts'
import { configuration, requestLimitMillis } from './configuration.ts'
import { dialerFor, type Reach, type Reached, reach } from './connect.ts'
import { instancePort } from './instance-lookup.ts'
import { kerberosAlone } from './login-errors.ts'
import { ntlmProvider } from './ntlm/ntlm-sspi.ts'
import { openError } from './open-error.ts'
import type { SqlServerOptions } from './options.ts'
import { isBusy } from './requests.ts'
import { assertFewRedirections, assertRoute, withoutFinalDot } from './routing.ts'
import { type SecureStream, type SecurityRequest, secureStream } from './secure-stream.ts'
import { refusalError, type ServerError } from './server-error.ts'
import type { SspiFactory } from './sspi.ts'
import { type LoginPlan, loadConnectionClass, type SqlServerConnection } from './tedious-connection.ts'
import type { TlsSettings } from './tls-settings.ts'

/** Of what a server calls its user and database; its own limit (sysname) is 128 characters. */
const LONGEST_NAME = 128

/** How long a call to Kerberos may take to notice that it is not waited for any more. */
const LONGEST_GOODBYE_MILLIS = 1000

/** The parts that are the same for every session of one driver at one place. */
export interface SessionPlan {
  readonly host: string
  /** Undefined: to be asked of the Browser. */
  readonly port: number | undefined
  /** The named instance, where there is no port. */
  readonly instance: string | undefined
  /** The principal of the server, where the user names it. */
  readonly spn: string | undefined
  readonly login: string | undefined
  readonly database: string | undefined
  readonly options: SqlServerOptions
  readonly tls: TlsSettings
  readonly lookup: Lookup
  /** Results of earlier attempts to reach each address. */
  readonly reachability: Reachability
  readonly route: ProxyRouter | undefined
  readonly sspi: SspiFactory
  readonly browserPort: number | undefined
}

export interface Session {
  /** Of the place that it was opened at. */
  readonly plan: SessionPlan
  readonly connection: SqlServerConnection
  readonly user: string
  readonly database: string
  readonly peer: string
  /** Our end of the connection. */
  readonly client: string | undefined
  readonly address: string
  /** Whether the server of the place has sent us on to another one. */
  readonly wasRouted: boolean
  readonly encryption: EncryptionInfo
  readonly proxy: ProxyInfo | undefined
}

/** Limits and progress of one opening. */
export interface Opening extends Omit<Attempt, 'target'> {
  /** Whether the first batch asks if the database can be written. */
  readonly asksRole: boolean
  /** The error of a server that has used up its time. */
  readonly timeout: (limitMillis: number) => PoolsmithError
}

/** Opens one session: finds the server, connects, encrypts as asked, logs in, and follows where the server sends us. */
export async function openSession(plan: SessionPlan, credential: Credential, opening: Opening): Promise<Session> {
  const { options, host } = plan
  if (options.encrypt === 'false') {
    if (credential.kind === 'token') throw exposed('a token')
    // Its hash of the password can be guessed at offline, and the login be passed on to another server.
    if (credential.kind === 'ntlm') throw exposed("NTLM's proof of the password")
  }
  const { signal, deadline, enter, timeout } = opening
  const port = plan.port ?? (await findInstance(plan, opening))
  const { lookup, reachability, route } = plan
  const multiSubnetFailover = options.multi_subnet_failover
  const how: Reach = {
    lookup,
    reachability,
    route,
    multiSubnetFailover,
    signal,
    deadline,
    enter,
  }
  const dialer = await dialerFor(host, port, how)
  const limits = { signal, limitMillis: undefined, timeout }
  return eachAddress(dialer, limits, (limited) =>
    logIn(plan, credential, opening, port, dialer, { ...how, signal: limited }),
  )
}

async function logIn(
  plan: SessionPlan,
  credential: Credential,
  opening: Opening,
  port: number,
  dialer: Dialer,
  how: Reach,
): Promise<Session> {
  const { options, host } = plan
  const { signal, enter } = how
  const Connection = await orAbort(loadConnectionClass(), signal)
  const setup = await orAbort(plan.tls.load(), signal)
  let reached: Reached | undefined
  let secured: SecureStream | undefined
  let servers = 0
  const secret = credential.kind === 'password' || credential.kind === 'token' ? credential.kind : undefined
  const connector = async (server: string, at: number): Promise<Socket> => {
    assertFewRedirections(servers, host)
    if (servers > 0) assertRoute(server, at, host, options.server_routing)
    reached = await reach(servers++ === 0 ? dialer : await dialerFor(server, at, how), how)
    secured = await secureStream(reached.socket, {
      encrypt: options.encrypt,
      server,
      certificateName: certificateName(options.host_name_in_certificate, server, server !== host),
      setup,
      verify: verification(options),
      secret,
      packetSize: options.packet_size,
      signal,
      enter,
    })
    return secured.stream
  }

  /** The call to Kerberos that the login waits for. */
  let asked: Promise<unknown> | undefined
  const loginPlan: LoginPlan = {
    secured: () => {
      if (secured === undefined) throw new TypeError('tedious logs in before it has connected.')
      return secured
    },
    // NTLM's messages are no GSSAPI.
    enter: (phase) => enter(credential.kind === 'ntlm' ? 'login' : phase),
    silenceLimitMillis: options.request_timeout === 0 ? undefined : requestLimitMillis(options),
    ...(options.exact_values ? { rowMode: { exact: true, bare: false } } : {}),
    asksUser: credential.kind !== 'password',
    asksRole: opening.asksRole,
    language: options.language,
    sspi: sspiFor(plan, credential, port, {
      signal,
      asking: (work) => {
        asked = work
      },
      bindings: () => {
        const tls = secured?.tls ?? secured?.loginTls?.stream
        return tls === undefined || !options.extended_protection ? undefined : channelBindings(tls)
      },
    }),
  }
  const config = configuration(plan, credential, port)
  // tedious hands the server and port of each attempt to the connector; its types do not say so.
  Object.assign(config.options ?? {}, {
    connector: ({ host: server, port: at }: { host: string; port: number }) => connector(server, at),
  })
  const connection = new Connection(config, loginPlan)
  let database = plan.database ?? ''
  connection.on('databaseChange', (name: string) => {
    database = name
  })
  await establish(connection, { credential, host, phase: opening.phase, signal, asked: () => asked })
  if (reached === undefined || secured === undefined) throw new TypeError('tedious has logged in before it connected.')
  const { socket, peer, address, proxy } = reached
  watchAcknowledgements(socket, secured.stream, connection)
  return {
    plan,
    connection,
    user: printable(connection.greeting.user ?? credential.user ?? plan.login ?? credential.identity, LONGEST_NAME),
    database: printable(database, LONGEST_NAME),
    peer,
    client: ownEnd(socket),
    address,
    wasRouted: servers > 1,
    encryption: describe(secured?.tls, options),
    proxy,
  }
}

/** A function of its own: what the callback sees lives as long as the session. */
function watchAcknowledgements(socket: Socket, stream: Socket, connection: SqlServerConnection): void {
  acknowledgements.watch(socket, stream, () => isBusy(connection))
}

function exposed(what: string): PoolsmithError {
  return new PoolsmithError(`encrypt=false would send ${what} over a connection that is not verified.`, {
    code: 'TLS_NEEDED',
    phase: 'config',
    hint: 'Leave encrypt at true (or strict) with this auth_method.',
  })
}

/**
 * The name that the certificate of a server must hold, without a final dot, which no certificate has. As in Microsoft's
 * JDBC driver a name such as `*.database.windows.net`, which Azure's own connection strings have, means all that is below
 * it for a server that we are sent on to.
 */
export function certificateName(given: string | undefined, server: string, sentOn: boolean): string {
  if (given === undefined) return withoutFinalDot(server)
  const isBelow = given.startsWith('*.') && server.toLowerCase().endsWith(given.slice(1).toLowerCase())
  return withoutFinalDot(sentOn && isBelow ? `*${server.slice(server.indexOf('.'))}` : given)
}

async function findInstance(plan: SessionPlan, { enter, signal }: Opening): Promise<number> {
  const { host, lookup, instance = '', browserPort } = plan
  enter('dns')
  const addresses = await resolveHost(host, lookup, signal)
  enter('connect')
  return instancePort({ host, addresses, instance, signal, browserPort })
}

interface SspiSurroundings {
  /** Ends the login; its reason names the limit. */
  readonly signal: AbortSignal
  /** Called with each call that may wait for a KDC. */
  readonly asking: (work: Promise<unknown>) => void
  /** The channel bindings (RFC 5929) of the session's TLS. */
  readonly bindings: () => Buffer | undefined
}

/** The login of a Windows account, by the tokens of Kerberos or NTLM; undefined for every other credential. */
function sspiFor(
  plan: SessionPlan,
  credential: Credential,
  ownPort: number,
  { signal, asking, bindings }: SspiSurroundings,
): LoginPlan['sspi'] {
  if (credential.kind !== 'gss' && credential.kind !== 'ntlm') return undefined
  const { sspi, options } = plan
  const asked = <T>(work: Promise<T>): Promise<T> => {
    asking(work)
    return work
  }
  return async (host, port = ownPort, untilClosed) => {
    // A server that we are sent to has a principal of its own; what the user said was about the first one.
    const sentOn = host !== plan.host || port !== ownPort
    const instance = sentOn || plan.port !== undefined ? undefined : plan.instance
    const spn = sentOn ? undefined : plan.spn
    if (credential.kind === 'ntlm') {
      return ntlmProvider({
        credential,
        workstation: options.workstation_id ?? hostname(),
        targetName: spn ?? `MSSQLSvc/${host}:${instance ?? port}`,
        channelBindings: bindings,
      })
    }
    const ending = endingWith(signal, untilClosed)
    const provider = await asked(
      sspi({ host, port, instance, spn, channelBindings: bindings() }, credential, ending.signal),
    )
    return {
      step: async (input) => kerberosAlone(await asked(provider.step(input))),
      peers: () => provider.peers?.(),
      close: () => {
        ending[Symbol.dispose]()
        provider.close?.()
      },
    }
  }
}

/** A signal that aborts with either; the reason of the first is kept, although its abort closes the connection too. */
function endingWith(signal: AbortSignal, untilClosed: AbortSignal): Disposable & { readonly signal: AbortSignal } {
  const ending = new AbortController()
  const first = onAbort(signal, () => ending.abort(signal.reason))
  const second = onAbort(untilClosed, () => ending.abort(signal.aborted ? signal.reason : untilClosed.reason))
  return {
    signal: ending.signal,
    [Symbol.dispose]: () => {
      first[Symbol.dispose]()
      second[Symbol.dispose]()
    },
  }
}

interface Establishing {
  readonly credential: Credential
  readonly host: string
  readonly phase: Attempt['phase']
  readonly signal: AbortSignal
  /** The call to Kerberos that the login waits for. */
  readonly asked: () => Promise<unknown> | undefined
}

async function establish(
  connection: SqlServerConnection,
  { credential, host, phase, signal, asked }: Establishing,
): Promise<void> {
  const errors: ServerError[] = []
  const onServerError = (error: ServerError): void => {
    errors.push(error)
  }
  connection.on('errorMessage', onServerError)
  signal.throwIfAborted()
  using _ = onAbort(signal, () => connection.close())
  try {
    await new Promise<void>((resolve, reject) => {
      connection.connect((error) => (error === undefined ? resolve() : reject(error)))
    })
  } catch (error) {
    connection.close()
    if (signal.aborted) throw phase() === 'gss' ? await ofKerberos(asked(), signal.reason) : signal.reason
    throw refusalError(errors, credential) ?? openError(error, host, phase())
  } finally {
    connection.off('errorMessage', onServerError)
  }
}

/** The error of a call to Kerberos that a limit has ended, which names the KDC; else the limit's. */
async function ofKerberos(asked: Promise<unknown> | undefined, reason: unknown): Promise<unknown> {
  try {
    if (asked !== undefined) await within(asked, LONGEST_GOODBYE_MILLIS)
  } catch (error) {
    if (error instanceof PoolsmithError && error.code === 'KDC_TIMEOUT') return error
  }
  return reason
}

/** When the certificate is verified: as in Microsoft's drivers, or always where there is something to verify it by. */
function verification(options: SqlServerOptions): SecurityRequest['verify'] {
  if (options.trust_server_certificate) return 'never'
  const { encrypt, ca_file, server_certificate, host_name_in_certificate } = options
  const isAsked = [ca_file, server_certificate, host_name_in_certificate].some((option) => option !== undefined)
  return encrypt === 'false' && !isAsked ? 'session' : 'always'
}

function describe(socket: TLSSocket | undefined, options: SqlServerOptions): EncryptionInfo {
  if (socket === undefined) return { kind: 'none' }
  if (options.trust_server_certificate) return describeTls(socket, undefined)
  return describeTls(socket, options.server_certificate === undefined ? 'hostname' : 'exact')
}
