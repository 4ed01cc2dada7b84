/** The roles that `target_session_attrs` can ask for, as libpq names them. */

import { PoolsmithError } from '../errors.ts'

export const SESSION_TARGETS = ['any', 'read-write', 'read-only', 'primary', 'standby', 'prefer-standby'] as const
export type SessionTarget = (typeof SESSION_TARGETS)[number]

/** Other spellings of the same. */
export const TARGET_SYNONYMS = {
  preferstandby: 'prefer-standby',
  readwrite: 'read-write',
  readonly: 'read-only',
} as const

/** The targets that are a choice by the server's recovery alone. */
export function wantsStandby(target: SessionTarget): boolean {
  return target === 'standby' || target === 'prefer-standby'
}

export function misfitError(host: string, target: SessionTarget, what: string): PoolsmithError {
  return new PoolsmithError(`${host} ${what} (target_session_attrs=${target}).`, {
    code: 'SERVER_ROLE_MISMATCH',
    phase: 'login',
    transient: true,
    hint: 'Wait until a failover has ended; else check the hosts, and which server is the primary.',
    details: { host },
  })
}
