/** The demands of `target_session_attrs` on a server, and the facts known of its role (libpq's `CONNECTION_CHECK_TARGET`). */

import type { PlaceRole } from '../../events.ts'
import { type SessionTarget, wantsStandby } from '../session-target.ts'
import type { Ask } from './value-settings.ts'

/** Settings that a server reports without being asked, from PostgreSQL 14 on. */
const STANDBY = 'in_hot_standby'
const READ_ONLY = 'default_transaction_read_only'

/**
 * Milliseconds since the last transaction that a standby has replayed was committed; 0 where it receives from its primary
 * and has replayed everything (PostgreSQL Documentation, "Recovery Information Functions"). From PostgreSQL 10 on.
 */
export const LAG = `select case when pg_catalog.pg_is_in_recovery() then case
  when pg_catalog.pg_last_wal_receive_lsn() = pg_catalog.pg_last_wal_replay_lsn()
    and exists (select from pg_catalog.pg_stat_wal_receiver) then 0
  else pg_catalog.round((extract(epoch from pg_catalog.clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp()) * 1000)::numeric)
  end end`

type Reported = ReadonlyMap<string, string>

/** The server of a login, as far as it told or was asked. */
export interface Fitness {
  readonly role: PlaceRole | undefined
  /** The difference from what the target asks for, in words; undefined when it fits. */
  readonly misfit: string | undefined
}

/**
 * Whether the session of a login fits the target. A server that does not report its role is asked for it: before
 * PostgreSQL 14, and by poolers.
 */
export async function fitnessOf(target: SessionTarget, reported: Reported, ask: Ask): Promise<Fitness> {
  const standby = reported.get(STANDBY)
  const readOnly = reported.get(READ_ONLY)
  const role = roleOf(standby)
  if (target === 'any') return { role, misfit: undefined }
  if (target === 'read-write' || target === 'read-only') {
    const known = standby !== undefined && readOnly !== undefined
    const isReadOnly = known
      ? standby === 'on' || readOnly === 'on'
      : asBoolean((await ask('SHOW transaction_read_only')).value)
    const fits = isReadOnly === (target === 'read-only')
    return { role, misfit: fits ? undefined : isReadOnly ? 'is read-only' : 'is not read-only' }
  }
  const answer = standby ?? (await ask('SELECT pg_catalog.pg_is_in_recovery()')).value
  const isStandby = asBoolean(answer)
  const fits = isStandby === wantsStandby(target)
  return { role: roleOf(answer), misfit: fits ? undefined : isStandby ? 'is a standby' : 'is not a standby' }
}

function roleOf(standby: string | undefined): PlaceRole | undefined {
  const isStandby = asBoolean(standby)
  return isStandby === undefined ? undefined : isStandby ? 'standby' : 'primary'
}

/** The role that a change of a reported setting tells; undefined for other settings. */
export function roleReported(name: string, value: string): PlaceRole | undefined {
  return name === STANDBY ? roleOf(value) : undefined
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
