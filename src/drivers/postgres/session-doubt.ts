/** Errors of statements after which a session must not be handed out again, or must be checked first. */

import { PoolsmithError } from '../../errors.ts'

/** read_only_sql_transaction */
const READ_ONLY = '25006'

/**
 * Errors after which a named statement always fails on this session, because pg's list of named statements is outdated
 * (SQLSTATE, and the routine of the server where the code has other meanings too).
 */
const OUTDATED_STATEMENTS: readonly { readonly code: string; readonly routine?: string }[] = [
  { code: '0A000', routine: 'RevalidateCachedQuery' }, // cached plan must not change result type
  { code: '26000' }, // prepared statement does not exist
]

interface ServerError {
  readonly code?: string | undefined
  readonly routine?: string | undefined
}

/** Whether an error shows that pg's list of named statements is outdated. */
export function outdatesSession(error: ServerError): boolean {
  return OUTDATED_STATEMENTS.some(({ code, routine }) => {
    return error.code === code && (routine === undefined || error.routine === routine)
  })
}

/**
 * Whether the sessions of a driver still have the role that they were opened for.
 *
 * A write that is refused as read-only may mean that the server has become a standby, as after a failover, and a standby
 * may have been promoted. Every session that is open at that time must then prove its role before it is handed out again.
 */
export class RoleDoubt {
  #raised = 0

  /** The value for a session that was just opened, or has just proved its role. */
  get current(): number {
    return this.#raised
  }

  /** @param isWriter whether the session was expected to write; one that is read-only by its role may remain so */
  heard(error: ServerError, isWriter: boolean): void {
    if (error.code === READ_ONLY && isWriter) this.raise()
  }

  /** A server has changed its role. */
  raise(): void {
    this.#raised++
  }
}

export function roleError(host: string, role: 'primary' | 'standby'): PoolsmithError {
  return new PoolsmithError(`The server ${host} has become a ${role}.`, {
    code: 'SERVER_ROLE_MISMATCH',
    phase: 'query',
    transient: true,
    hint: 'A failover does this; the next session is opened at a server with the role that target_session_attrs asks for.',
  })
}

export function readOnlyError(host: string): PoolsmithError {
  return new PoolsmithError(`The session with ${host} has become read-only.`, {
    code: 'SESSION_READ_ONLY',
    phase: 'query',
    transient: true,
    hint: 'The server may have become a standby; check that the host leads to the primary.',
  })
}
