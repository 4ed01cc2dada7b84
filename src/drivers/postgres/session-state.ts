import type { Credential } from '../../credentials/credential.ts'
import type { Place } from '../../hosts/place.ts'
import { printable } from '../../printable.ts'
import type { SessionInfo } from '../driver.ts'
import { addressOf, ownEnd, showEndpoint } from '../network/socket.ts'
import { type RoleDoubt, roleError } from '../role-doubt.ts'
import type { SessionTarget } from '../session-target.ts'
import { advised } from '../statement-error.ts'
import type { Watcher } from './pg-client.ts'
import { endsSession } from './server-error.ts'
import { isReadOnlyRefusal, outdatesSession } from './session-doubt.ts'
import type { Session } from './session-plan.ts'
import { leavesTarget, mayWrite, roleReported } from './session-target.ts'
import { postgresAdvice } from './statement-error.ts'
import { REPORTED_SETTINGS } from './value-settings.ts'

/** The driver's own knowledge of a session, besides the client itself. */
export interface SessionState {
  readonly session: Session
  /** The facts about the server that it was opened at. */
  readonly place: Place | undefined
  /** The role that its server must keep. */
  readonly target: SessionTarget
  readonly credential: Credential
  readonly info: SessionInfo
  /** The settings that decide how values arrive, as the server last reported them. */
  readonly parameters: Map<string, string>
  broken: boolean
  /** The error after which the session must not be handed out again, although it is alive. */
  outdatedBy: Error | undefined
  /** {@link RoleDoubt.current} when the session was last known to have its role. */
  doubt: number
  /** Why the session ended, where that is known. */
  endedBy: Error | undefined
  onEnd: (() => void) | undefined
  /** The number of statements that have ended. */
  finished: number
  /** That number when the session was last in the state of a new one. */
  cleanAt: number
}

export interface NewSession {
  readonly session: Session
  readonly place: Place | undefined
  readonly target: SessionTarget
  readonly credential: Credential
  readonly timings: SessionInfo['timings']
  readonly doubt: number
}

export function newState({ session, place, target, credential, timings, doubt }: NewSession): SessionState {
  const { plan, login, transport } = session
  // Only these, so that a server cannot fill memory with settings of any name.
  const parameters = [...login.parameters].filter(([name]) => REPORTED_SETTINGS.has(name))
  return {
    session,
    place,
    target,
    credential,
    parameters: new Map(parameters),
    broken: false,
    outdatedBy: undefined,
    doubt,
    endedBy: undefined,
    onEnd: undefined,
    finished: 0,
    cleanAt: 0,
    info: {
      user: session.user,
      database: session.database,
      peer: showEndpoint(session.endpoint),
      client: ownEnd(session.socket),
      place: { host: plan.host, port: plan.port, address: addressOf(session.endpoint), role: login.role },
      serverVersion: printable(login.parameters.get('server_version') ?? 'unknown', 100),
      processId: login.processId,
      authentication: login.authentication,
      encryption: transport.encryption,
      kerberos: transport.kerberos ?? login.kerberos,
      proxy: session.proxy,
      timings,
    },
  }
}

/** Keeps the state of a session up to date. */
export function watcherOf(state: SessionState, doubt: RoleDoubt): Watcher {
  const { target } = state
  const { plan, login } = state.session
  const atLogin = login.parameters
  const end = (error?: Error): void => {
    state.broken = true
    // The first error is the reason; later ones are about the socket.
    state.endedBy ??= error
    state.onEnd?.()
    state.onEnd = undefined
  }
  return {
    onServerError: (error) => {
      advised(error, postgresAdvice(error))
      if (endsSession(error)) end(error)
      else if (outdatesSession(error)) state.outdatedBy = error
      // A session that is read-only by its role may remain so.
      if (isReadOnlyRefusal(error) && mayWrite(target, atLogin)) doubt.raise()
    },
    onParameter: (name, value) => {
      state.place?.hasRole(roleReported(name, value))
      if (leavesTarget(target, name, value, atLogin)) {
        state.outdatedBy ??= roleError(plan.host, value === 'on' ? 'standby' : 'primary')
        doubt.raise()
      }
      if (REPORTED_SETTINGS.has(name)) state.parameters.set(name, value)
    },
    onReady: () => {
      state.finished++
    },
    onEnd: end,
  }
}
