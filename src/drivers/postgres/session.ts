import type { Duplex } from 'node:stream'
import type { Credential } from '../../credentials/credential.ts'
import { ConfigError, type Phase, PoolsmithError } from '../../errors.ts'
import type { Emit } from '../../events.ts'
import type { ProxyInfo } from '../driver.ts'
import { connectEndpoint } from '../network/connect.ts'
import type { Tunnel } from '../network/proxy/tunnel.ts'
import { type Endpoint, errorCode, type Lookup, resolveHost, showEndpoint } from '../network/socket.ts'
import { tlsError } from '../network/tls.ts'
import { StreamClosed } from '../network/wire.ts'
import type { AuthPolicy } from './auth-policy.ts'
import { type LoginResult, login } from './login.ts'
import { NotPostgres } from './messages.ts'
import type { PostgresOptions, SslMode } from './options.ts'
import { refusalError, ServerRefusal } from './server-error.ts'
import type { TlsSettings } from './tls-settings.ts'
import { plainTransport, TlsNotOffered, type Transport, tlsTransport } from './transport.ts'

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

/** How a connection is tried. A way to encrypt by other means than TLS would come before them. */
type Encryption = 'tls' | 'plain'

/**
 * The attempts that a mode allows, in libpq's order. A token or a client certificate that would have to travel or
 * stay unused without TLS leaves only the attempt with it.
 */
export function encryptionsToTry(
  mode: SslMode,
  endpoint: Endpoint,
  credential: Credential,
): readonly [Encryption, Encryption?] {
  if (endpoint.kind === 'unix') return ['plain']
  const needsTls = credential.kind === 'token' || credential.kind === 'certificate'
  const allowed: Readonly<Record<SslMode, readonly Encryption[]>> = {
    disable: ['plain'],
    allow: ['plain', 'tls'],
    prefer: ['tls', 'plain'],
    require: ['tls'],
    'verify-ca': ['tls'],
    'verify-full': ['tls'],
  }
  const [first, second] = allowed[mode].filter((encryption) => encryption === 'tls' || !needsTls)
  if (first !== undefined) return [first, second]
  throw new PoolsmithError(
    `sslmode=disable would send ${credential.kind === 'token' ? 'a token' : 'our login'} unprotected.`,
    {
      code: 'TLS_NEEDED',
      phase: 'config',
      hint: 'Use sslmode=verify-full (or at least require) with this auth_method.',
    },
  )
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
  const [first, second] = encryptionsToTry(plan.sslMode, endpoint, credential)
  const one = await tryOnce(endpoint, first, plan, credential, attempt)
  if (one.session !== undefined) return one.session
  if (second === undefined || !one.tryOther || attempt.signal.aborted) throw one.error
  const other = await tryOnce(endpoint, second, plan, credential, attempt)
  if (other.session !== undefined) return other.session
  throw attempt.signal.aborted ? other.error : joined(one.error, other.error, first)
}

/** Two attempts failed: the last one's error, with a word about the first where that says something else. */
function joined(first: unknown, last: unknown, encryption: Encryption): unknown {
  if (!(last instanceof PoolsmithError) || !(first instanceof PoolsmithError)) return last
  if (last.code === 'TLS_NOT_OFFERED') return first
  if (last.code === first.code) return last
  const way = encryption === 'tls' ? 'with TLS' : 'without TLS'
  return new PoolsmithError(`${last.message} (Before that, ${way}: ${first.message})`, {
    code: last.code,
    phase: last.phase,
    transient: last.transient,
    details: { ...last.details, before: first.toJSON() },
    cause: last.cause,
    ...(last.hint === undefined ? {} : { hint: last.hint }),
  })
}

/** How one attempt ended; `tryOther`: libpq would go on with the other way that the mode allows. */
type Outcome =
  | { readonly session: Session }
  | { readonly session?: undefined; readonly error: unknown; readonly tryOther: boolean }

async function tryOnce(
  endpoint: Endpoint,
  encryption: Encryption,
  plan: SessionPlan,
  credential: Credential,
  attempt: Attempt,
): Promise<Outcome> {
  const user = credential.user ?? plan.login
  if (user === undefined || user === '') {
    throw new ConfigError([{ path: 'login', message: 'is missing, and the credential names no user either' }])
  }
  const { signal } = attempt
  const database = plan.database ?? user
  const { keepalives, keepalives_idle: idle } = plan.options
  if (encryption === 'tls') attempt.enter('tls')
  const setup = encryption === 'tls' ? await plan.tls.load(credential) : undefined
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
    if (setup !== undefined) {
      attempt.enter('tls')
      const target = {
        setup,
        host: plan.host,
        sendServerName: plan.options.sslsni,
        direct: plan.options.sslnegotiation === 'direct',
        signal,
      }
      try {
        transport = await tlsTransport(socket, target)
      } catch (error) {
        // Under prefer the same connection goes on without TLS.
        const goOn = plan.sslMode === 'prefer' && encryptionsToTry(plan.sslMode, endpoint, credential).includes('plain')
        if (!(error instanceof TlsNotOffered) || !goOn) throw error
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
      policy: plan.policy,
      channelBinding: plan.options.channel_binding,
      emit: plan.emit,
    }
    const result = await login(transport, request, signal)
    return { session: { user, database, endpoint, proxy, transport, login: result } }
  } catch (cause) {
    onAbort()
    const error = signal.aborted ? signal.reason : explain(cause, plan, endpoint, attempt.phase())
    // A server that declined TLS has already been tried without.
    const declined = encryption === 'tls' && attempt.phase() === 'login' && transport.encryption.kind === 'none'
    return { error, tryOther: !declined && isWorthOther(cause, encryption) }
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

/** Whether libpq tries the other way that `allow` or `prefer` leaves after this. */
function isWorthOther(cause: unknown, encryption: Encryption): boolean {
  if (cause instanceof ServerRefusal) return !cause.authenticated && !cause.beforeLogin
  if (!(cause instanceof PoolsmithError)) return false
  // libpq would have sent the password; where we do not, the encrypted attempt is still open.
  if (encryption === 'plain') return cause.code === 'CLEARTEXT_REFUSED'
  return cause.phase === 'tls' && cause.code !== 'TLS_STUFFED'
}

/** Says in our own terms why an attempt ended. */
function explain(cause: unknown, plan: SessionPlan, endpoint: Endpoint, phase: Phase): unknown {
  const peer = showEndpoint(endpoint)
  if (cause instanceof ServerRefusal) return refusalError(cause)
  if (cause instanceof TlsNotOffered) {
    return new PoolsmithError(`The server ${peer} does not offer TLS.`, {
      code: 'TLS_NOT_OFFERED',
      phase: 'tls',
      hint: `Set ssl=on on the server; sslmode=${plan.sslMode} and this auth_method do not go without.`,
    })
  }
  if (cause instanceof NotPostgres) {
    return new PoolsmithError(`What answers at ${peer} is not a PostgreSQL server, or is damaged: ${cause.message}.`, {
      code: 'NOT_POSTGRES',
      phase,
      hint: 'Check host and port; a web server, a proxy or another database may be listening there.',
      cause,
    })
  }
  if (cause instanceof StreamClosed) {
    const broken = cause.cause
    // Under TLS 1.3 the server judges our certificate after the handshake.
    if (broken instanceof Error && errorCode(broken)?.startsWith('ERR_SSL_') === true)
      return tlsError(broken, plan.host)
    return new PoolsmithError(`The server ${peer} closed the connection in the phase ${phase}.`, {
      code: 'CONNECTION_CLOSED',
      phase,
      transient: true,
      hint: "The server's log says why; a full or restarting server and a proxy without a backend do this.",
      cause,
    })
  }
  return cause
}
