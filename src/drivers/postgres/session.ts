import type { Duplex } from 'node:stream'
import type { Credential } from '../../credentials/credential.ts'
import { ConfigError, type Phase, PoolsmithError } from '../../errors.ts'
import type { Emit } from '../../events.ts'
import type { ProxyInfo } from '../driver.ts'
import { connectEndpoint } from '../network/connect.ts'
import type { Tunnel } from '../network/proxy/tunnel.ts'
import { type Endpoint, type Lookup, resolveHost } from '../network/socket.ts'
import type { AuthPolicy } from './auth-policy.ts'
import { explain } from './explain.ts'
import { GssIdentity } from './gss-identity.ts'
import { GssNotOffered, gssTransport } from './gss-transport.ts'
import { type LoginResult, login } from './login.ts'
import { effectiveGssMode, type PostgresOptions, type SslMode } from './options.ts'
import type { TlsSettings, TlsSetup } from './tls-settings.ts'
import { plainTransport, TlsNotOffered, type TlsTarget, type Transport, tlsTransport } from './transport.ts'
import { type Failure, goesOn, joined, type Way, waysToTry } from './ways.ts'

/** All that stays the same for every session of one driver. */
export interface SessionPlan {
  readonly host: string
  readonly port: number
  readonly login: string | undefined
  readonly database: string | undefined
  readonly sslMode: SslMode
  readonly options: PostgresOptions
  readonly policy: AuthPolicy
  readonly tls: TlsSettings
  readonly lookup: Lookup
  /** The way through a proxy, and then the only one. */
  readonly tunnel: Tunnel | undefined
  readonly emit: Emit
}

/** Limit and progress of one attempt. */
export interface Attempt {
  readonly signal: AbortSignal
  /** A phase begins. */
  readonly enter: (phase: Phase) => void
  /** The phase that we are in. */
  readonly phase: () => Phase
}

/** A session that the server has accepted, before any driver has touched it. */
export interface Session {
  readonly user: string
  readonly database: string
  readonly endpoint: Endpoint
  /** The proxy in between, and how it let us through. */
  readonly proxy: ProxyInfo | undefined
  readonly transport: Transport
  readonly login: LoginResult
}

/** Opens one session: resolves the host, and tries its addresses one after the other as libpq does. */
export async function openSession(plan: SessionPlan, credential: Credential, attempt: Attempt): Promise<Session> {
  const endpoints = await findEndpoints(plan, attempt)
  let last: unknown
  for (const endpoint of endpoints) {
    try {
      return await withLimit(plan, attempt, (limited) => openAt(endpoint, plan, credential, limited))
    } catch (error) {
      // Only an address that cannot be reached, or does not answer, gives way to the next.
      const unreachable =
        error instanceof PoolsmithError && (error.phase === 'connect' || error.code === 'CONNECT_TIMEOUT')
      if (!unreachable || attempt.signal.aborted) throw error
      last = error
    }
  }
  throw last
}

async function findEndpoints(plan: SessionPlan, attempt: Attempt): Promise<readonly Endpoint[]> {
  const { host, port, options } = plan
  if (host.startsWith('/')) return [{ kind: 'unix', path: `${host}/.s.PGSQL.${port}` }]
  if (options.hostaddr !== undefined) return [{ kind: 'tcp', address: options.hostaddr, port }]
  // The proxy resolves the name, in its own network.
  if (plan.tunnel !== undefined) return [{ kind: 'tcp', address: host, port }]
  attempt.enter('dns')
  const addresses = await resolveHost(host, plan.lookup, attempt.signal)
  return addresses.map((address) => ({ kind: 'tcp', address, port }))
}

/** Runs one address' attempt under `connect_timeout`. */
async function withLimit<T>(plan: SessionPlan, attempt: Attempt, run: (attempt: Attempt) => Promise<T>): Promise<T> {
  const { connect_timeout: limitSeconds } = plan.options
  if (limitSeconds === 0) return run(attempt)
  const limit = new AbortController()
  const onAbort = (): void => limit.abort(attempt.signal.reason)
  const timer = setTimeout(() => {
    const phase = attempt.phase()
    limit.abort(
      new PoolsmithError(
        `${plan.host} did not answer within ${limitSeconds} s (connect_timeout), in the phase ${phase}.`,
        {
          code: 'CONNECT_TIMEOUT',
          phase,
          transient: true,
          hint:
            phase === 'connect'
              ? 'A firewall may drop the packets silently; check security groups and the address.'
              : 'The server accepts connections but does not answer; it may be overloaded or frozen.',
        },
      ),
    )
  }, limitSeconds * 1000)
  attempt.signal.addEventListener('abort', onAbort, { once: true })
  try {
    attempt.signal.throwIfAborted()
    return await run({ ...attempt, signal: limit.signal })
  } finally {
    clearTimeout(timer)
    attempt.signal.removeEventListener('abort', onAbort)
  }
}

async function openAt(
  endpoint: Endpoint,
  plan: SessionPlan,
  credential: Credential,
  attempt: Attempt,
): Promise<Session> {
  const gssMode = effectiveGssMode(plan.options, credential)
  let ways = waysToTry({ sslMode: plan.sslMode, gssMode }, endpoint, credential)
  const failures: Failure[] = []
  using gss = await openGss(plan, credential, ways, attempt)
  if (gss.identity === undefined && ways[0] === 'gss') {
    failures.push({ way: 'gss', error: gss.error })
    ways = ways.slice(1)
  }
  for (;;) {
    const outcome = await tryOnce(ways, { endpoint, plan, credential, identity: gss.identity, attempt })
    if (outcome.session !== undefined) {
      if (gssMode === 'prefer' && endpoint.kind === 'tcp') warnOfLesserWay(outcome.session, failures, plan)
      return outcome.session
    }
    if (attempt.signal.aborted) throw outcome.error
    failures.push(outcome)
    ways = outcome.rest
    if (ways.length === 0) throw joined(failures)
  }
}

/** Our Kerberos side, where there is one; without a ticket only what does not rest on it goes on, as libpq has it. */
async function openGss(
  plan: SessionPlan,
  credential: Credential,
  ways: readonly Way[],
  attempt: Attempt,
): Promise<{ readonly identity?: GssIdentity; readonly error?: unknown } & Disposable> {
  const nothing = { [Symbol.dispose]: () => undefined }
  if (credential.kind !== 'gss' && ways[0] !== 'gss') return nothing
  attempt.enter('credential')
  try {
    const identity = await GssIdentity.open(credential, plan, attempt.signal)
    return { identity, [Symbol.dispose]: () => identity[Symbol.dispose]() }
  } catch (error) {
    if (credential.kind === 'gss' || ways.length === 1 || attempt.signal.aborted) throw error
    return { error, ...nothing }
  }
}

/** `gssencmode=prefer`, and the session came about in another way. */
function warnOfLesserWay({ transport }: Session, failures: readonly Failure[], plan: SessionPlan): void {
  const { kind } = transport.encryption
  if (kind === 'gss') return
  const { error } = failures.find(({ way }) => way === 'gss') ?? {}
  const why = error instanceof Error ? error.message : 'The server does not offer it.'
  const instead = kind === 'tls' ? 'is encrypted by TLS instead' : 'is not encrypted at all'
  plan.emit('security:warning', {
    code: 'GSS_ENCRYPTION_GIVEN_UP',
    message: `The session with ${plan.host} ${instead}: GSSAPI encryption was given up (gssencmode=prefer). ${why}`,
  })
}

/** How one attempt ended; `rest`: the ways that libpq would still try on a new connection. */
type Outcome =
  | { readonly session: Session }
  | { readonly session?: undefined; readonly way: Way; readonly error: unknown; readonly rest: readonly Way[] }

interface Try {
  readonly endpoint: Endpoint
  readonly plan: SessionPlan
  readonly credential: Credential
  readonly identity: GssIdentity | undefined
  readonly attempt: Attempt
}

/** Tries the first of the ways; when the server declines it, the next one on the same connection where that may be. */
async function tryOnce(ways: readonly Way[], one: Try): Promise<Outcome> {
  const { endpoint, plan, credential, identity, attempt } = one
  const user = credential.user ?? plan.login
  if (user === undefined || user === '') {
    throw new ConfigError([{ path: 'login', message: 'is missing, and the credential names no user either' }])
  }
  const { signal } = attempt
  const database = plan.database ?? user
  const { keepalives, keepalives_idle: idle } = plan.options
  let [way = 'plain', ...rest] = ways
  // Files that are wrong are told before anything is opened.
  const setup = way === 'tls' ? await loadTls(one) : undefined
  const { socket, proxy } = await connectEndpoint(endpoint, plan.tunnel, {
    signal,
    enter: attempt.enter,
    keepAliveIdleMillis: keepalives ? idle * 1000 : undefined,
  })
  let stream: Duplex = socket
  const onAbort = (): void => {
    stream.destroy()
    socket.destroy()
  }
  signal.addEventListener('abort', onAbort, { once: true })
  let transport = plainTransport(socket, endpoint)
  try {
    signal.throwIfAborted()
    if (way === 'gss' && identity !== undefined) {
      attempt.enter('gss')
      try {
        transport = await gssTransport(socket, identity, signal)
      } catch (error) {
        const [next] = rest
        const onSame = next === 'plain' || (next === 'tls' && plan.options.sslnegotiation !== 'direct')
        if (!(error instanceof GssNotOffered) || !onSame) throw error
        way = next
        rest = rest.slice(1)
      }
    }
    if (way === 'tls') {
      attempt.enter('tls')
      const target = tlsTarget(plan, setup ?? (await loadTls(one)), signal)
      try {
        transport = await tlsTransport(socket, target)
      } catch (error) {
        const onSame = plan.sslMode === 'prefer' && rest[0] === 'plain'
        if (!(error instanceof TlsNotOffered) || !onSame) throw error
        way = 'plain'
        rest = []
      }
    }
    stream = transport.stream
    attempt.enter('login')
    const request = {
      user,
      parameters: {
        database,
        client_encoding: 'UTF8',
        application_name: plan.options.application_name,
        ...(plan.options.options === undefined ? {} : { options: plan.options.options }),
      },
      credential,
      identity,
      policy: plan.policy,
      channelBinding: plan.options.channel_binding,
      emit: plan.emit,
      enter: attempt.enter,
    }
    const result = await login(transport, request, signal)
    return { session: { user, database, endpoint, proxy, transport, login: result } }
  } catch (cause) {
    onAbort()
    const { host, sslMode } = plan
    const told = explain(cause, { host, sslMode, endpoint, phase: attempt.phase() })
    const silentKdc = told instanceof PoolsmithError && told.code === 'KDC_TIMEOUT'
    const error = signal.aborted && !silentKdc ? signal.reason : told
    return { way, error, rest: goesOn(cause, way) ? rest : [] }
  } finally {
    signal.removeEventListener('abort', onAbort)
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
