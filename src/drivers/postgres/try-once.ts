import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { onAbort } from '../../abort.ts'
import type { Credential } from '../../credentials/credential.ts'
import { ConfigError, PoolsmithError } from '../../errors.ts'
import { printable } from '../../printable.ts'
import type { Dialer } from '../network/dialer.ts'
import { assertPeerUser } from '../network/peer-user.ts'
import { type Endpoint, showEndpoint } from '../network/socket.ts'
import type { Attempt } from '../places.ts'
import { explain } from './explain.ts'
import type { GssIdentity } from './gss-identity.ts'
import { ENCRYPTION_FLAGS, GssNotOffered, gssTransport } from './gss-transport.ts'
import { type LoginRequest, login, UnknownParameter } from './login.ts'
import { NegotiationRefusal } from './negotiation.ts'
import { LOGIN_FLAGS } from './proof.ts'
import { protocolVersions } from './protocol-version.ts'
import type { Session, SessionPlan } from './session-plan.ts'
import type { TlsSetup } from './tls-settings.ts'
import { plainTransport, TlsNotOffered, type TlsTarget, type Transport, tlsTransport } from './transport.ts'
import { goesOn, type Way } from './ways.ts'

/** The input of one attempt at one address. */
export interface Try {
  readonly dialer: Dialer
  readonly plan: SessionPlan
  readonly credential: Credential
  readonly identity: GssIdentity | undefined
  readonly attempt: Attempt
}

/**
 * The result of an attempt. `rest`: the ways that libpq would still try on a new connection. `again`: try the same ways
 * again, since the server refused a parameter of the start-up message that is left out from now on.
 */
export type Outcome =
  | 'again'
  | { readonly session: Session }
  | { readonly session?: undefined; readonly way: Way; readonly error: unknown; readonly rest: readonly Way[] }

/**
 * Opens one connection and tries the first of the ways. When the server declines it, the next one is tried on the same
 * connection where libpq does so.
 */
export async function tryOnce(ways: readonly Way[], one: Try): Promise<Outcome> {
  const { dialer, plan, credential, attempt } = one
  const { signal } = attempt
  const user = userOf(plan, credential)
  const database = plan.database ?? user
  const left = new WaysLeft(ways)
  // Files that are wrong are reported before anything is opened.
  const setup = left.current === 'tls' ? await loadTls(one) : undefined
  // The server takes its time to start a session; the token for it is made meanwhile.
  if (left.current === 'gss') one.identity?.prepare(ENCRYPTION_FLAGS, signal)
  else if (credential.kind === 'gss') one.identity?.prepare(LOGIN_FLAGS, signal)
  const { keepalives, keepalives_idle: idleSeconds } = plan.options
  const { socket, proxy, endpoint } = await dialer.connect({
    signal,
    enter: attempt.enter,
    keepAliveIdleMillis: keepalives ? idleSeconds * 1000 : undefined,
  })
  let stream: Duplex = socket
  const close = (): void => {
    stream.destroy()
    socket.destroy()
  }
  using _ = onAbort(signal, close)
  try {
    signal.throwIfAborted()
    await assertPeer(socket, endpoint, plan)
    const transport = await protect(socket, left, setup, one)
    assertCertificateSent(transport, plan)
    stream = transport.stream
    attempt.enter('login')
    const result = await login(transport, loginRequest(user, database, one), signal)
    return { session: { plan, user, database, endpoint, proxy, socket, transport, login: result } }
  } catch (cause) {
    close()
    if (cause instanceof UnknownParameter) return 'again'
    tellServerText(cause, one)
    return { way: left.current, error: errorOf(cause, one), rest: goesOn(cause, left.current) ? left.rest : [] }
  }
}

/** `requirepeer`: before anything is sent. */
export async function assertPeer(socket: Socket, endpoint: Endpoint, { options }: SessionPlan): Promise<void> {
  const { requirepeer } = options
  if (requirepeer !== undefined && endpoint.kind === 'unix') await assertPeerUser(socket, requirepeer, endpoint.path)
}

/** `sslcertmode=require`: libpq looks at the end of the login, but nothing can change it after the handshake. */
function assertCertificateSent({ provedByCertificate }: Transport, { host, options }: SessionPlan): void {
  if (options.sslcertmode !== 'require' || provedByCertificate === true) return
  throw new PoolsmithError(`No client certificate was exchanged with ${host} (sslcertmode=require).`, {
    code: 'TLS_CLIENT_CERTIFICATE_UNUSED',
    phase: 'tls',
    hint: 'Set sslcert and sslkey, and ssl_ca_file on the server, without which it asks for none.',
    details: { host },
  })
}

function userOf({ login: named }: SessionPlan, credential: Credential): string {
  const user = credential.user ?? named
  if (user !== undefined && user !== '') return user
  throw new ConfigError([{ path: 'login', message: 'is missing, and the credential names no user either' }])
}

/** The ways that are left. The first of them is being tried. */
class WaysLeft {
  #ways: readonly Way[]

  constructor(ways: readonly Way[]) {
    this.#ways = ways
  }

  get current(): Way {
    return this.#ways[0] ?? 'plain'
  }

  get rest(): readonly Way[] {
    return this.#ways.slice(1)
  }

  /** Continues with the next way on the same connection. */
  advance(): void {
    this.#ways = this.rest
  }
}

/** Protects the connection in the first way that the server does not decline. */
async function protect(socket: Duplex, left: WaysLeft, setup: TlsSetup | undefined, one: Try): Promise<Transport> {
  const gss = left.current === 'gss' ? await byGss(socket, left, one) : undefined
  if (gss !== undefined) return gss
  const tls = left.current === 'tls' ? await byTls(socket, left, setup, one) : undefined
  return tls ?? plainTransport(socket, one.dialer.endpoint)
}

/** Undefined when the server declines and the next way may be tried on the same connection. */
async function byGss(socket: Duplex, left: WaysLeft, { plan, identity, attempt }: Try): Promise<Transport | undefined> {
  if (identity === undefined) return undefined
  attempt.enter('gss')
  try {
    return await gssTransport(socket, identity, attempt.signal)
  } catch (error) {
    const [next] = left.rest
    const onSame = next === 'plain' || (next === 'tls' && plan.options.sslnegotiation !== 'direct')
    if (!(error instanceof GssNotOffered) || !onSame) throw error
    left.advance()
    return undefined
  }
}

/** Undefined when the server declines and `sslmode=prefer` goes on without TLS on the same connection. */
async function byTls(
  socket: Duplex,
  left: WaysLeft,
  setup: TlsSetup | undefined,
  one: Try,
): Promise<Transport | undefined> {
  const { plan, attempt } = one
  attempt.enter('tls')
  const target = tlsTarget(plan, setup ?? (await loadTls(one)), attempt.signal)
  try {
    return await tlsTransport(socket, target)
  } catch (error) {
    const onSame = plan.sslMode === 'prefer' && left.rest[0] === 'plain'
    if (!(error instanceof TlsNotOffered) || !onSame) throw error
    left.advance()
    return undefined
  }
}

function loadTls({ plan, credential, attempt }: Try): Promise<TlsSetup> {
  attempt.enter('tls')
  return plan.tls.load(credential)
}

export function tlsTarget(plan: SessionPlan, setup: TlsSetup, signal: AbortSignal): TlsTarget {
  const { sslsni, sslnegotiation } = plan.options
  return { setup, host: plan.host, sendServerName: sslsni, direct: sslnegotiation === 'direct', signal }
}

function loginRequest(user: string, database: string, one: Try): LoginRequest {
  const { plan, credential, identity, attempt } = one
  const { options, channel_binding: channelBinding } = plan.options
  return {
    user,
    parameters: {
      database,
      application_name: applicationName(plan),
      ...(options === undefined ? {} : { options }),
    },
    settings: plan.settings,
    versions: protocolVersions(plan.options),
    credential,
    identity,
    policy: plan.policy,
    target: attempt.target ?? 'any',
    channelBinding,
    emit: plan.emit,
    enter: attempt.enter,
  }
}

function applicationName({ options }: SessionPlan): string {
  return options.application_name ?? options.fallback_application_name ?? 'poolsmith'
}

/** The error for the caller, or the reason of the abort. */
function errorOf(cause: unknown, { plan, dialer, credential, attempt }: Try): unknown {
  const { host, sslMode } = plan
  const { endpoint } = dialer
  const told = explain(cause, { host, sslMode, endpoint, credential, phase: attempt.phase() })
  // The KDC is asked under the same limit. That it did not answer is more precise than the limit.
  const silentKdc = told instanceof PoolsmithError && told.code === 'KDC_TIMEOUT'
  return attempt.signal.aborted && !silentKdc ? attempt.signal.reason : told
}

/** Raises the debug event with the text that no message shows. */
function tellServerText(cause: unknown, { plan, dialer }: Try): void {
  if (!(cause instanceof NegotiationRefusal)) return
  const { S: severity = '', C: sqlstate = '', M: text = '' } = cause.fields
  plan.emit('debug:refusal', {
    peer: showEndpoint(dialer.endpoint),
    text: printable([severity, sqlstate, text].filter((part) => part !== '').join(' ')),
  })
}
