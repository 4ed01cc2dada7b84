import { orAbort } from '../../abort.ts'
import type { Credential } from '../../credentials/credential.ts'
import { ConfigError, PoolsmithError } from '../../errors.ts'
import type { Emit } from '../../events.ts'
import type { Place } from '../../hosts/place.ts'
import type { Driver, OpenContext, SessionInfo } from '../driver.ts'
import { keepFirstListeners, keepListeners, removeForeignListeners } from '../foreign-listeners.ts'
import type { ProxyRouter } from '../network/proxy/tunnel.ts'
import { Reachability } from '../network/reachability.ts'
import { type Lookup, systemLookup } from '../network/socket.ts'
import { PhaseClock } from '../phase-clock.ts'
import type { Places } from '../places.ts'
import { RoleDoubt } from '../role-doubt.ts'
import type { StatementWatcher } from '../statement-watch.ts'
import { atPlace, openingError, type Whereabouts } from '../whereabouts.ts'
import { addressesOf, sqlServerWhereabouts } from './addresses.ts'
import { roleOf } from './greeting.ts'
import { gssSspi } from './gss-sspi.ts'
import { sqlServerPlaces } from './open-place.ts'
import { checkSqlServerOptions } from './option-checks.ts'
import type { SqlServerOptions, SqlServerTarget } from './options.ts'
import { isBusy, isReady, runBatch, untilIdle } from './requests.ts'
import { resetConnection } from './reset.ts'
import { SessionRole } from './role.ts'
import { endsSession, type ServerError } from './server-error.ts'
import type { Session, SessionPlan } from './session.ts'
import type { SspiFactory } from './sspi.ts'
import { sqlServerStatementError } from './statement-error.ts'
import type { SqlServerConnection } from './tedious-connection.ts'
import { TlsSettings } from './tls-settings.ts'

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
  /** The facts about the server that it was opened at. */
  readonly place: Place | undefined
  readonly role: SessionRole
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
  const addresses = addressesOf(target, options)
  if (addresses.some(({ host, port }) => port === undefined && context.route?.(host, BROWSER_PORT) !== undefined)) {
    throw new ConfigError([
      { path: 'extra.instance_name', message: 'is looked up by UDP, which no proxy carries; give the port instead' },
    ])
  }
  const shared = {
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
  const plans = addresses.map((address): SessionPlan => ({ ...shared, ...address }))
  return new SessionDriver(plans, where, () => warnOfWeakness(options, emit))
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
  readonly #places: Places<SessionPlan, Session>
  readonly #states = new WeakMap<SqlServerConnection, SessionState>()
  readonly #doubt: RoleDoubt
  readonly places: readonly Place[]
  readonly where: Whereabouts
  #warn: (() => void) | undefined
  #database: string | undefined

  constructor(plans: readonly SessionPlan[], where: Whereabouts, warn: () => void) {
    const isAsked = plans[0]?.options.target_session_attrs !== 'any'
    // After the first doubt the role of each session is known, so that one which is read-only by its nature causes none.
    this.#places = sqlServerPlaces(plans, () => isAsked || this.#doubt.current > 0)
    this.places = this.#places.known
    this.#doubt = new RoleDoubt(this.places)
    this.where = where
    this.#warn = warn
  }

  async open(credential: Credential, context: OpenContext): Promise<SqlServerConnection> {
    this.#warn?.()
    this.#warn = undefined
    const { signal, deadline, at } = context
    const where = atPlace(this.where, at)
    const clock = new PhaseClock(context)
    try {
      const session = await this.#places.open(credential, {
        signal,
        deadline,
        at,
        enter: (phase, place) => clock.enter(phase, place),
        phase: () => clock.phase,
      })
      const { connection, plan } = session
      if (signal.aborted) {
        connection.close()
        throw signal.reason
      }
      this.#adopt(session, {
        user: session.user,
        database: session.database,
        peer: session.peer,
        client: session.client,
        place: {
          // With the instance, as the pool tells of it.
          host: this.#places.of(plan)?.host ?? plan.host,
          port: plan.port,
          address: session.address,
          role: roleOf(connection.greeting.readOnly),
        },
        serverVersion: connection.greeting.version ?? 'unknown',
        processId: connection.greeting.processId,
        authentication: AUTHENTICATION[credential.kind],
        encryption: session.encryption,
        kerberos: connection.kerberos,
        proxy: session.proxy,
        timings: clock.stop(),
      })
      return connection
    } catch (error) {
      if (!signal.aborted) throw openingError(error, where)
      if (signal.reason instanceof PoolsmithError) throw error
      throw new PoolsmithError(`Connecting to ${where.host} was given up in the phase ${clock.phase}.`, {
        code: 'ABORTED',
        phase: clock.phase,
        cause: signal.reason,
      })
    }
  }

  get database(): string | undefined {
    return this.#database
  }

  #adopt(session: Session, info: SessionInfo): void {
    const { connection } = session
    this.#database = info.database
    const place = this.#places.of(session.plan)
    const role = new SessionRole(session, place, this.#doubt)
    const state: SessionState = {
      info,
      place,
      role,
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
    connection.on('end', () => {
      state.broken = true
      // tedious tells the error of the socket right after the end that it causes.
      process.nextTick(end)
    })
    connection.on('errorMessage', (error: ServerError) => {
      role.heard(error)
      if (endsSession(error)) end(new Error(`${error.message} (error ${error.number}, state ${error.state})`))
    })
    this.#states.set(connection, state)
    connection.place = atPlace(this.where, place)
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
    if (state.role.isAsked) await state.role.prove(raw)
    else await runBatch(raw, 'select 1')
    if (clean) state.cleanAt = raw.requestCount
  }

  mustPing(raw: SqlServerConnection): boolean {
    return this.#doubt.current > 0 && this.#state(raw).role.isDoubtful
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
    if (state.role.isDoubtful) await state.role.prove(raw)
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

  abort(raw: SqlServerConnection, reason?: Error): void {
    const state = this.#state(raw)
    state.broken = true
    state.endedBy ??= reason
    raw.close()
  }

  interrupt(raw: SqlServerConnection, signal: AbortSignal): Promise<void> {
    return orAbort(this.cancel(raw), signal)
  }

  isBroken(raw: SqlServerConnection): boolean {
    return this.#isDead(raw) || this.#state(raw).role.outdatedBy !== undefined
  }

  #isDead(raw: SqlServerConnection): boolean {
    return this.#state(raw).broken || !(isReady(raw) || isBusy(raw))
  }

  onEnd(raw: SqlServerConnection, listener: () => void): void {
    const state = this.#state(raw)
    if (state.broken) listener()
    else state.onEnd = listener
  }

  endedBy(raw: SqlServerConnection): Error | undefined {
    const { endedBy, role } = this.#state(raw)
    return endedBy ?? role.outdatedBy
  }

  statementError(raw: SqlServerConnection, error: Error): Error {
    const { info, place, endedBy } = this.#state(raw)
    return sqlServerStatementError(error, {
      where: { ...atPlace(this.where, place), database: info.database },
      broken: this.#isDead(raw),
      endedBy,
    })
  }

  watch(raw: SqlServerConnection, watcher: StatementWatcher): void {
    raw.watcher = watcher
  }

  info(raw: SqlServerConnection): SessionInfo {
    return this.#state(raw).info
  }

  rankOf(place: Place): number {
    return this.#places.rankOf(place)
  }

  placeOf(raw: SqlServerConnection): Place | undefined {
    return this.#state(raw).place
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
