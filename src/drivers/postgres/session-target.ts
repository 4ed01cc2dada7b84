/** The demands of `target_session_attrs` on a server, and the facts known of its role (libpq's `CONNECTION_CHECK_TARGET`). */

import { type SessionTarget, wantsStandby } from '../session-target.ts'
import type { Ask } from './value-settings.ts'

/** Settings that a server reports without being asked, from PostgreSQL 14 on. */
const STANDBY = 'in_hot_standby'
const READ_ONLY = 'default_transaction_read_only'

type Reported = ReadonlyMap<string, string>

/**
 * Whether the session of a login fits the target. A server that does not report its role is asked for it: before
 * PostgreSQL 14, and by poolers.
 *
 * @returns undefined when it fits, else what it is instead
 */
export async function misfitOf(target: SessionTarget, reported: Reported, ask: Ask): Promise<string | undefined> {
  if (target === 'any') return undefined
  const standby = reported.get(STANDBY)
  const readOnly = reported.get(READ_ONLY)
  if (target === 'read-write' || target === 'read-only') {
    const known = standby !== undefined && readOnly !== undefined
    const isReadOnly = known
      ? standby === 'on' || readOnly === 'on'
      : asBoolean((await ask('SHOW transaction_read_only')).value)
    return isReadOnly === (target === 'read-only') ? undefined : isReadOnly ? 'is read-only' : 'is not read-only'
  }
  const isStandby = asBoolean(standby ?? (await ask('SELECT pg_catalog.pg_is_in_recovery()')).value)
  return isStandby === wantsStandby(target) ? undefined : isStandby ? 'is a standby' : 'is not a standby'
}

function asBoolean(value: string | undefined): boolean | undefined {
  return value === undefined ? undefined : value === 'on' || value === 't'
}

/** Whether a change of a reported setting means that an open session no longer fits the target. */
export function leavesTarget(target: SessionTarget, name: string, value: string, atLogin: Reported): boolean {
  if (name !== STANDBY) return false
  if (target === 'read-write' || target === 'primary') return value === 'on'
  if (value === 'on') return false
  return target === 'standby' || (target === 'read-only' && atLogin.get(READ_ONLY) !== 'on')
}

/** Whether sessions that open with this target are expected to write, as far as the login shows. */
export function mayWrite(target: SessionTarget, atLogin: Reported): boolean {
  if (target === 'read-only' || wantsStandby(target)) return false
  return atLogin.get(STANDBY) !== 'on' && atLogin.get(READ_ONLY) !== 'on'
}
