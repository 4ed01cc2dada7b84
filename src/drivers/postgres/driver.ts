import type pg from 'pg'
import { orAbort } from '../../abort.ts'
import { errorCode, isError } from '../../any-error.ts'
import { hostsOf } from '../../connections/host-list.ts'
import type { Credential } from '../../credentials/credential.ts'
import { ConfigError, PoolsmithError } from '../../errors.ts'
import type { Emit } from '../../events.ts'
import type { Place } from '../../hosts/place.ts'
import type { Driver, Notification, OpenContext, SessionInfo } from '../driver.ts'
import { keepFirstListeners, removeForeignListeners } from '../foreign-listeners.ts'
import { acknowledgements } from '../network/acknowledgement.ts'
import type { ProxyRouter } from '../network/proxy/tunnel.ts'
import { Reachability } from '../network/reachability.ts'
import { type Lookup, systemLookup } from '../network/socket.ts'
import { PhaseClock } from '../phase-clock.ts'
import type { Places } from '../places.ts'
import { RoleDoubt, readOnlyError, roleError } from '../role-doubt.ts'
import type { StatementWatcher } from '../statement-watch.ts'
import { warnOnce } from '../warn-once.ts'
import { atPlace, openingError, type Whereabouts } from '../whereabouts.ts'
import { parseRequireAuth } from './auth-policy.ts'
import { cancelSession } from './cancel.ts'
import { rememberCancel } from './cancel-client.ts'
import { keepPgListeners, listens, listenTo, USERS_EVENTS } from './client-statements.ts'
import { postgresPlaces } from './open-place.ts'
import { checkPostgresOptions } from './option-checks.ts'
import { effectiveSslMode, type PostgresOptions, type PostgresTarget } from './options.ts'
import { adoptSession, isBusy, isEnding, loadPg, streamOf } from './pg-client.ts'
import { interruptClient, resetClient } from './reset.ts'
import { endsSession } from './server-error.ts'
import type { Session, SessionPlan } from './session-plan.ts'
import { newState, type SessionState, watcherOf } from './session-state.ts'
import { LAG, leavesTarget, mayWrite } from './session-target.ts'
import { notQueryable, postgresStatementError } from './statement-error.ts'
import { tellStatements } from './tell-statements.ts'
import { TlsSettings } from './tls-settings.ts'
import { type Answer, ValueSettings } from './value-settings.ts'
import { watchStatements } from './watch-statements.ts'

const DEFAULT_PORT = 5432
const DEFAULT_HOST = 'localhost'

export interface PostgresDriverContext {
  readonly emit: Emit
  /** For errors. Default: {@link postgresWhereabouts} of the target. */
  readonly where?: Whereabouts
  /** Where `.postgresql` with libpq's default files lies. Default: the home directory of the process. */
  readonly home?: string
  /** Default: the system's resolver. */
  readonly lookup?: Lookup
  /** Decides which hosts are reached through a proxy. Default: none. */
  readonly route?: ProxyRouter
}

/** A driver that can also cancel a running statement. */
export interface PostgresDriver extends Driver<pg.Client> {
  /** Asks the server to cancel the running statement, over a separate connection. Resolves when the request was sent. */
  cancel(raw: pg.Client, signal: AbortSignal): Promise<void>
  /** The error that the caller of a failed statement gets: see {@link postgresStatementError}. */
  statementError(raw: pg.Client, error: Error): Error
}

/**
 * Opens PostgreSQL sessions as libpq does, and gives them as `pg.Client`.
 *
 * @throws ConfigError when the options contradict each other
 */
export function createPostgresDriver(
  target: PostgresTarget,
  options: PostgresOptions,
  context: PostgresDriverContext,
): PostgresDriver {
  const problems = checkPostgresOptions(target, options)
  const policy = parseRequireAuth(options.require_auth)
  if (problems.length > 0 || typeof policy === 'string') throw new ConfigError(problems)
  const where = context.where ?? postgresWhereabouts(target)
  const { hostaddr } = options
  const addresses = hostaddr?.split(',') ?? []
  const shared = {
    login: target.login,
    database: target.database === '' ? undefined : target.database,
    sslMode: effectiveSslMode(options),
    options,
    policy,
    tls: new TlsSettings(options, context),
    lookup: context.lookup ?? systemLookup,
    reachability: Reachability.ofAddresses(),
    emit: warnOnce(context.emit),
  }
  const places = hostsOf(target).map(({ host, port = DEFAULT_PORT }, index): SessionPlan => {
    const name = host === undefined || host === '' ? DEFAULT_HOST : host
    const address = addresses[index] === '' ? undefined : addresses[index]
    const tunnel = name.startsWith('/') ? undefined : context.route?.(address ?? name, port)
    // A list may name servers and poolers, which treat the settings differently.
    const settings = new ValueSettings(options.options)
    return { ...shared, settings, host: name, port, hostaddr: address, tunnel }
  })
  return new SessionDriver(postgresPlaces(places), where)
}

/** The place of the sessions: of the target, with what libpq takes in place of what it leaves out. */
export function postgresWhereabouts({ host, port, database, login }: PostgresTarget): Whereabouts {
  return {
    system: 'postgresql',
    // libpq's default is a Unix socket, and localhost where it is built without them.
    host: host === undefined || host === '' ? DEFAULT_HOST : host,
    // Several hosts with different ports name them.
    port: port ?? (hostsOf({ host }).some((one) => one.port !== undefined) ? undefined : DEFAULT_PORT),
    database: database === undefined || database === '' ? login : database,
  }
}

class SessionDriver implements PostgresDriver {
  readonly #places: Places<SessionPlan, Session>
  readonly #states = new WeakMap<pg.Client, SessionState>()
  readonly #doubt: RoleDoubt
  readonly places: readonly Place[]
  readonly where: Whereabouts

  constructor(places: Places<SessionPlan, Session>, where: Whereabouts) {
    this.#places = places
    this.places = places.known
    this.#doubt = new RoleDoubt(places.known)
    this.where = where
  }

  async open(credential: Credential, context: OpenContext): Promise<pg.Client> {
    const { signal, at } = context
    const where = atPlace(this.where, at)
    const clock = new PhaseClock(context)
    try {
      const module = await orAbort(loadPg(), signal)
      const session = await this.#places.open(credential, {
        signal,
        enter: (phase, place) => clock.enter(phase, place),
        phase: () => clock.phase,
        deadline: context.deadline,
        at,
      })
      const { current: doubt } = this.#doubt
      const place = this.#places.of(session.plan)
      const target = at === undefined ? session.plan.options.target_session_attrs : 'any'
      const state = newState({ session, place, target, credential, timings: clock.stop(), doubt })
      const client = await adoptSession(module, {
        stream: session.transport.stream,
        user: session.user,
        database: session.database,
        host: session.plan.host,
        port: session.plan.port,
        pending: session.login.pending,
        watcher: watcherOf(state, this.#doubt),
      })
      keepPgListeners(client)
      tellStatements(client, atPlace(this.where, place), () => (state.broken ? notQueryable(state.endedBy) : undefined))
      state.cleanAt = state.finished
      this.#states.set(client, state)
      rememberCancel(client, (cancelSignal) => this.cancel(client, cancelSignal))
      if (session.plan.options.keepalives && session.endpoint.kind === 'tcp') watchAcknowledgements(session, client)
      if (signal.aborted) {
        this.abort(client)
        throw signal.reason
      }
      return client
    } catch (error) {
      if (!signal.aborted) throw openingError(error, where)
      if (signal.reason instanceof PoolsmithError) throw error
      throw new PoolsmithError(`The attempt to connect to ${where.host} was aborted in the phase ${clock.phase}.`, {
        code: 'ABORTED',
        phase: clock.phase,
        cause: signal.reason,
      })
    }
  }

  #state(raw: pg.Client): SessionState {
    const state = this.#states.get(raw)
    if (state === undefined) throw new TypeError('This client was not opened by this driver.')
    return state
  }

  async ping(raw: pg.Client): Promise<void> {
    const state = this.#state(raw)
    const clean = state.cleanAt === state.finished
    if (this.mustPing(raw)) await this.#assertRole(raw, state)
    // An empty statement: the server parses and plans nothing.
    else await raw.query('')
    if (clean) state.cleanAt = state.finished
  }

  mustPing(raw: pg.Client): boolean {
    // Mostly nothing has been doubted yet, and the session need not be looked up.
    const { current } = this.#doubt
    return current > 0 && this.#state(raw).doubt !== current
  }

  async #assertRole(raw: pg.Client, state: SessionState): Promise<void> {
    const { current } = this.#doubt
    const { target, session } = state
    const { plan, login } = session
    const { host } = plan
    if (target === 'standby' || target === 'read-only') {
      const { value } = await askOn(raw, 'select pg_catalog.pg_is_in_recovery()')
      if (value === 'f' && leavesTarget(target, 'in_hot_standby', 'off', login.parameters))
        throw roleError(host, 'primary')
    } else if (mayWrite(target, login.parameters)) {
      const { value } = await askOn(raw, 'show transaction_read_only')
      if (value === 'on') throw readOnlyError(host)
    } else {
      await raw.query('')
    }
    state.doubt = current
  }

  needsReset(raw: pg.Client, mode: 'rollback' | 'full'): boolean {
    if (isBusy(raw) || raw.getTransactionStatus() !== 'I' || listens(raw)) return true
    if (mode === 'rollback') return false
    const state = this.#state(raw)
    return state.finished !== state.cleanAt
  }

  tidy(raw: pg.Client): void {
    removeForeignListeners(raw)
  }

  async reset(raw: pg.Client, mode: 'rollback' | 'full'): Promise<void> {
    const state = this.#state(raw)
    await resetClient(raw, mode, {
      cancel: (signal) => this.cancel(raw, signal),
      restoreSettings: () => state.session.plan.settings.correct(state.parameters, (sql) => askOn(raw, sql)),
    })
    if (this.mustPing(raw)) await this.#assertRole(raw, state)
    this.tidy(raw)
    if (mode === 'full') state.cleanAt = state.finished
  }

  async run(raw: pg.Client, sql: string): Promise<void> {
    await raw.query(sql)
  }

  listen(raw: pg.Client, channel: string, handler: (notification: Notification) => void): Promise<void> {
    return listenTo(raw, channel, handler)
  }

  markClean(raw: pg.Client): void {
    const state = this.#state(raw)
    state.cleanAt = state.finished
    keepFirstListeners(raw, USERS_EVENTS)
  }

  async close(raw: pg.Client): Promise<void> {
    await raw.end()
  }

  abort(raw: pg.Client, reason?: Error): void {
    const state = this.#state(raw)
    state.broken = true
    state.endedBy ??= reason
    streamOf(raw).destroy()
  }

  async kill(raw: pg.Client, signal: AbortSignal, reason?: Error): Promise<void> {
    const isRunning = isBusy(raw)
    // Aborted first, so that the client sends nothing more when the server reports that its statement was cancelled.
    this.abort(raw, reason)
    // A server process that runs a statement does not look at its socket.
    if (isRunning) await this.cancel(raw, signal)
  }

  interrupt(raw: pg.Client, signal: AbortSignal): Promise<void> {
    return interruptClient(raw, (limit) => this.cancel(raw, limit), signal)
  }

  isBroken(raw: pg.Client): boolean {
    return this.#isDead(raw) || this.#state(raw).outdatedBy !== undefined
  }

  #isDead(raw: pg.Client): boolean {
    return this.#state(raw).broken || isEnding(raw)
  }

  onEnd(raw: pg.Client, listener: () => void): void {
    const state = this.#state(raw)
    if (state.broken) listener()
    else state.onEnd = listener
  }

  endedBy(raw: pg.Client): Error | undefined {
    const { endedBy, outdatedBy } = this.#state(raw)
    return endedBy ?? outdatedBy
  }

  statementError(raw: pg.Client, error: Error): Error {
    const { info, place, endedBy } = this.#state(raw)
    return postgresStatementError(error, {
      where: { ...atPlace(this.where, place), database: info.database },
      broken: this.#isDead(raw),
      endedBy,
    })
  }

  info(raw: pg.Client): SessionInfo {
    return this.#state(raw).info
  }

  placeOf(raw: pg.Client): Place | undefined {
    return this.#state(raw).place
  }

  rankOf(place: Place): number {
    return this.#places.rankOf(place)
  }

  async lagMillis(raw: pg.Client): Promise<number | undefined> {
    const { value } = await askOn(raw, LAG)
    return value === undefined || value === null ? undefined : Number(value)
  }

  watch(raw: pg.Client, watcher: StatementWatcher): void {
    watchStatements(raw, watcher)
  }

  cancel(raw: pg.Client, signal: AbortSignal): Promise<void> {
    const { session, credential } = this.#state(raw)
    return cancelSession(session, session.plan, credential, signal)
  }
}

/** A function of its own: what the callback sees lives as long as the session. */
function watchAcknowledgements({ socket, transport }: Session, client: pg.Client): void {
  acknowledgements.watch(socket, transport.stream, () => isBusy(client))
}

/** Runs one statement of the driver on a client. */
async function askOn(client: pg.Client, sql: string): Promise<Answer> {
  try {
    const text = { getTypeParser: () => (value: string) => value }
    const { rows } = await client.query({ text: sql, rowMode: 'array', types: text })
    return { value: rows[0]?.[0] }
  } catch (error) {
    if (!isServerError(error) || endsSession(error)) throw error
    return { error: { M: error.message } }
  }
}

function isServerError(error: unknown): error is Error & { readonly code: string } {
  return isError(error) && errorCode(error) !== undefined
}
