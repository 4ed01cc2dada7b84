/** Whether the server of an open session still has the role that the session was opened for. */

import type { Place } from '../../hosts/place.ts'
import { type RoleDoubt, readOnlyError, roleError } from '../role-doubt.ts'
import { isReadOnly, roleOf, UPDATEABILITY } from './greeting.ts'
import { askText } from './requests.ts'
import { isReadOnlyRefusal, outdatesSession, type ServerError } from './server-error.ts'
import type { Session, SessionPlan } from './session.ts'
import type { SqlServerConnection } from './tedious-connection.ts'

export class SessionRole {
  readonly #doubt: RoleDoubt
  readonly #plan: SessionPlan
  readonly #place: Place | undefined
  readonly #mayWrite: boolean
  /** {@link RoleDoubt.current} when the session was last known to have its role. */
  #proven: number
  /** The error after which the session must not be handed out again, although it is alive. */
  outdatedBy: Error | undefined

  /** @param place the facts about the server of the session, unless it is not known which one it is */
  constructor({ plan, connection, wasRouted }: Session, place: Place | undefined, doubt: RoleDoubt) {
    const { target_session_attrs: target, application_intent: intent } = plan.options
    this.#doubt = doubt
    this.#plan = plan
    this.#place = wasRouted ? undefined : place
    this.#proven = doubt.current
    const forReaders = target === 'read-only' || target === 'standby' || target === 'prefer-standby'
    const asked = target === 'any' ? intent === 'ReadWrite' : !forReaders
    this.#mayWrite = asked && connection.greeting.readOnly !== true
  }

  /** Hears each error that the server sends on the session. */
  heard(error: ServerError): void {
    if (outdatesSession(error)) {
      this.outdatedBy ??= new Error(`${error.message} (error ${error.number}, state ${error.state})`)
      this.#doubt.raise()
    } else if (isReadOnlyRefusal(error) && this.#mayWrite) this.#doubt.raise()
  }

  /** Whether something said on another session casts doubt on this one. On the hot path. */
  get isDoubtful(): boolean {
    return this.#proven !== this.#doubt.current
  }

  /** Whether a check must ask for the role. */
  get isAsked(): boolean {
    return this.isDoubtful || this.#plan.options.target_session_attrs !== 'any'
  }

  /**
   * Asks the server for the role of the session's database, in one round trip.
   *
   * @throws PoolsmithError SESSION_READ_ONLY, SERVER_ROLE_MISMATCH when it has changed; tedious' error of the statement
   */
  async prove(connection: SqlServerConnection): Promise<void> {
    const { current } = this.#doubt
    const { host, options } = this.#plan
    const readOnly = isReadOnly((await askText(connection, `select ${UPDATEABILITY}`)) ?? '')
    this.#place?.hasRole(roleOf(readOnly))
    const { target_session_attrs: target } = options
    if (this.#mayWrite && readOnly !== false) throw readOnlyError(host)
    if ((target === 'standby' || target === 'read-only') && readOnly === false) throw roleError(host, 'primary')
    this.#proven = current
  }
}
