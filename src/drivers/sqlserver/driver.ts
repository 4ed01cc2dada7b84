import { orAbort, TimeLimit } from '../../abort.ts'
import type { Credential } from '../../credentials/credential.ts'
import { ConfigError, PoolsmithError } from '../../errors.ts'
import type { Emit } from '../../events.ts'
import { connectTimeout } from '../connect-timeout.ts'
import type { Driver, OpenContext, SessionInfo } from '../driver.ts'
import { keepFirstListeners, keepListeners, removeForeignListeners } from '../foreign-listeners.ts'
import type { ProxyRouter } from '../network/proxy/tunnel.ts'
import { Reachability } from '../network/reachability.ts'
import { type Lookup, systemLookup } from '../network/socket.ts'
import { PhaseClock } from '../phase-clock.ts'
import { openingError, type Whereabouts } from '../whereabouts.ts'
import { gssSspi } from './gss-sspi.ts'
import { checkSqlServerOptions, type SqlServerOptions, type SqlServerTarget } from './options.ts'
import { isBusy, isReady, runBatch, untilIdle } from './requests.ts'
import { resetConnection } from './reset.ts'
import { endsSession, type ServerError } from './server-error.ts'
import { openSession, type SessionPlan } from './session.ts'
import type { SspiFactory } from './sspi.ts'
import { sqlServerStatementError } from './statement-error.ts'
import type { SqlServerConnection } from './tedious-connection.ts'
import { patiently } from './throttling.ts'
import { TlsSettings } from './tls-settings.ts'

const DEFAULT_PORT = 1433
const BROWSER_PORT = 1434
/** Events of a session that its users listen to. */
const USERS_EVENTS = ['infoMessage', 'errorMessage', 'error'] as const

export interface SqlServerDriverContext {
  readonly emit: Emit
  /** For errors. Default: {@link sqlServerWhereabouts} of the target. */
  readonly where?: Whereabouts
  /** Makes the Kerberos contexts. Default: GSSAPI. */
  readonly sspi?: SspiFactory
  /** Default: the system's resolver. */
  readonly lookup?: Lookup
  /** The way through a proxy. Default: all connections are direct. */
  readonly route?: ProxyRouter
  /** Where the SQL Server Browser is asked for instances. Default 1434. */
  readonly browserPort?: number
}

/** A driver that can also interrupt what a session is doing. */
export interface SqlServerDriver extends Driver<SqlServerConnection> {
  /** The database of the latest session: what the server chose where the connection names none. */
  readonly database: string | undefined
  /** Cancels the running statement (an attention, MS-TDS 2.2.1.7); resolves when the session is ready again. */
  cancel(raw: SqlServerConnection): Promise<void>
  /** The error to report for a statement that failed with `error`: see {@link sqlServerStatementError}. */
  statementError(raw: SqlServerConnection, error: Error): Error
}

interface SessionState {
  readonly info: SessionInfo
  broken: boolean
  endedBy: Error | undefined
  onEnd: (() => void) | undefined
  /** How many requests had been made when the session was last as good as new. */
  cleanAt: number
}

/**
 * Opens SQL Server sessions, and gives them as tedious' `Connection`.
 *
 * @throws ConfigError when the options contradict each other
 */
export function createSqlServerDriver(
  target: SqlServerTarget,
  options: SqlServerOptions,
  context: SqlServerDriverContext,
): SqlServerDriver {
  const problems = checkSqlServerOptions(target, options)
  if (problems.length > 0) throw new ConfigError(problems)
  const { emit } = context
  const named = options.instance_name !== undefined && target.port === undefined
  const host = hostOf(target)
  if (named && context.route?.(host, BROWSER_PORT) !== undefined) {
    throw new ConfigError([
      { path: 'extra.instance_name', message: 'is looked up by UDP, which no proxy carries; give the port instead' },
    ])
  }
  const plan: SessionPlan = {
    host,
    port: named ? undefined : (target.port ?? DEFAULT_PORT),
    login: target.login,
    database: target.database === '' ? undefined : target.database,
    options,
    tls: new TlsSettings(options, emit),
    lookup: context.lookup ?? systemLookup,
    reachability: Reachability.ofAddresses(),
    route: context.route,
    sspi: context.sspi ?? gssSspi({ mechanism: options.gss_mechanism, delegate: options.gssdelegation }),
    browserPort: context.browserPort,
  }
  const where = context.where ?? sqlServerWhereabouts(target, options)
  return new SessionDriver(plan, where, () => warnOfWeakness(options, emit))
}

/** The place of the sessions: of the target, with the defaults of what it leaves out. */
export function sqlServerWhereabouts(
  target: SqlServerTarget,
  { instance_name: instance }: SqlServerOptions,
): Whereabouts {
  const named = instance !== undefined && target.port === undefined
  const host = hostOf(target)
  return {
    system: 'microsoft.sql_server',
    host: named ? `${host}\\${instance}` : host,
    port: named ? undefined : (target.port ?? DEFAULT_PORT),
    database: target.database === '' ? undefined : target.database,
  }
}

function hostOf({ host }: SqlServerTarget): string {
  return host === undefined || host === '' ? 'localhost' : host
}

function warnOfWeakness(options: SqlServerOptions, emit: Emit): void {
  if (options.encrypt === 'false') {
    emit('security:warning', {
      code: 'SESSION_NOT_ENCRYPTED',
      message: 'encrypt=false: only the login is encrypted; statements and rows can be read and changed on the way.',
    })
  } else if (options.trust_server_certificate) {
    emit('security:warning', {
      code: 'SERVER_NOT_VERIFIED',
      message:
        'trust_server_certificate=true: any certificate is accepted, so that an attacker on the way can pose as the server.',
    })
  }
}

class SessionDriver implements SqlServerDriver {
  readonly #plan: SessionPlan
  readonly #states = new WeakMap<SqlServerConnection, SessionState>()
  readonly where: Whereabouts
  #warn: (() => void) | undefined
  #database: string | undefined

  constructor(plan: SessionPlan, where: Whereabouts, warn: () => void) {
    this.#plan = plan
    this.where = where
    this.#warn = warn
  }

  async open(credential: Credential, context: OpenContext): Promise<SqlServerConnection> {
    this.#warn?.()
    this.#warn = undefined
    const clock = new PhaseClock(context)
    const limit = new AbortController()
    const { connect_timeout: seconds } = this.#plan.options
    using _ =
      seconds === 0
        ? undefined
        : new TimeLimit(seconds * 1000, () => limit.abort(timeoutError(this.#plan, clock, seconds)))
    const signal = AbortSignal.any([context.signal, limit.signal])
    const endsAt = seconds === 0 ? Number.POSITIVE_INFINITY : performance.now() + seconds * 1000
    const opening = {
      clock,
      signal,
      deadline: Math.min(endsAt, context.deadline ?? Number.POSITIVE_INFINITY),
      timeout: (limitMillis: number) => timeoutError(this.#plan, clock, limitMillis / 1000),
    }
    try {
      const session = await patiently(() => openSession(this.#plan, credential, opening), {
        signal,
        left: () => endsAt - performance.now(),
      })
      if (signal.aborted) {
        session.connection.close()
        throw signal.reason
      }
      const { connection } = session
      this.#adopt(connection, {
        user: session.user,
        database: session.database,
        peer: session.peer,
        serverVersion: connection.greeting.version ?? 'unknown',
        ...(connection.greeting.processId === undefined ? {} : { processId: connection.greeting.processId }),
        authentication: AUTHENTICATION[credential.kind],
        encryption: session.encryption,
        ...(connection.kerberos === undefined ? {} : { kerberos: connection.kerberos }),
        ...(session.proxy === undefined ? {} : { proxy: session.proxy }),
        timings: clock.stop(),
      })
      return connection
    } catch (error) {
      if (!context.signal.aborted) throw openingError(error, this.where)
      if (context.signal.reason instanceof PoolsmithError) throw error
      throw new PoolsmithError(`Connecting to ${this.#plan.host} was given up in the phase ${clock.phase}.`, {
        code: 'ABORTED',
        phase: clock.phase,
        cause: context.signal.reason,
      })
    }
  }

  get database(): string | undefined {
    return this.#database
  }

  #adopt(connection: SqlServerConnection, info: SessionInfo): void {
    this.#database = info.database
    const state: SessionState = {
      info,
      broken: false,
      endedBy: undefined,
      onEnd: undefined,
      cleanAt: connection.requestCount,
    }
    const end = (error?: Error): void => {
      state.broken = true
      // The first error is the reason; those that follow are about the socket.
      state.endedBy ??= error
      state.onEnd?.()
      state.onEnd = undefined
    }
    // Also keeps the error of an idle session from ending the process.
    connection.on('error', end)
    connection.on('end', () => end())
    connection.on('errorMessage', (error: ServerError) => {
      if (endsSession(error)) end(new Error(`${error.message} (error ${error.number}, state ${error.state})`))
    })
    this.#states.set(connection, state)
    connection.place = this.where
    keepListeners(connection, USERS_EVENTS)
  }

  #state(raw: SqlServerConnection): SessionState {
    const state = this.#states.get(raw)
    if (state === undefined) throw new TypeError('This connection was not opened by this driver.')
    return state
  }

  async ping(raw: SqlServerConnection): Promise<void> {
    const state = this.#state(raw)
    const clean = state.cleanAt === raw.requestCount
    await runBatch(raw, 'select 1')
    if (clean) state.cleanAt = raw.requestCount
  }

  needsReset(raw: SqlServerConnection, mode: 'rollback' | 'full'): boolean {
    if (isBusy(raw) || raw.inTransaction || raw.isolationLeft) return true
    return mode === 'full' && this.#state(raw).cleanAt !== raw.requestCount
  }

  tidy(raw: SqlServerConnection): void {
    removeForeignListeners(raw)
  }

  async reset(raw: SqlServerConnection, mode: 'rollback' | 'full'): Promise<void> {
    const state = this.#state(raw)
    await resetConnection(raw, mode)
    if (mode === 'full') state.cleanAt = raw.requestCount
  }

  run(raw: SqlServerConnection, sql: string): Promise<void> {
    return runBatch(raw, sql)
  }

  markClean(raw: SqlServerConnection): void {
    this.#state(raw).cleanAt = raw.requestCount
    keepFirstListeners(raw, USERS_EVENTS)
  }

  async close(raw: SqlServerConnection): Promise<void> {
    // The protocol has no word for goodbye: the socket's end is one.
    this.abort(raw)
  }

  abort(raw: SqlServerConnection): void {
    this.#state(raw).broken = true
    raw.close()
  }

  interrupt(raw: SqlServerConnection, signal: AbortSignal): Promise<void> {
    return orAbort(this.cancel(raw), signal)
  }

  isBroken(raw: SqlServerConnection): boolean {
    return this.#state(raw).broken || !(isReady(raw) || isBusy(raw))
  }

  onEnd(raw: SqlServerConnection, listener: () => void): void {
    const state = this.#state(raw)
    if (state.broken) listener()
    else state.onEnd = listener
  }

  endedBy(raw: SqlServerConnection): Error | undefined {
    return this.#state(raw).endedBy
  }

  statementError(raw: SqlServerConnection, error: Error): Error {
    const { info, endedBy } = this.#state(raw)
    return sqlServerStatementError(error, {
      where: { ...this.where, database: info.database },
      broken: this.isBroken(raw),
      endedBy,
    })
  }

  info(raw: SqlServerConnection): SessionInfo {
    return this.#state(raw).info
  }

  async cancel(raw: SqlServerConnection): Promise<void> {
    if (!isBusy(raw)) return
    raw.cancel()
    await untilIdle(raw)
  }
}

const AUTHENTICATION = {
  password: 'sql',
  token: 'token',
  gss: 'kerberos',
  ntlm: 'ntlm',
  certificate: 'certificate',
} as const

function timeoutError(plan: SessionPlan, { phase }: PhaseClock, seconds: number): PoolsmithError {
  const { host, port, options, route } = plan
  return connectTimeout({
    host,
    phase,
    seconds,
    limitSeconds: options.connect_timeout,
    proxy: phase === 'proxy' ? route?.(host, port ?? DEFAULT_PORT)?.proxy : undefined,
    isInstance: port === undefined,
  })
}
