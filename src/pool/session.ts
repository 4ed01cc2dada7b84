/** One open connection as the pool sees it, and the decision whether it may be used again. */

import type { Credential } from '../credentials/credential.ts'
import { sameSecret } from '../credentials/same-secret.ts'
import type { SessionInfo } from '../drivers/driver.ts'
import type { CloseReason } from '../events.ts'
import type { Policy } from './options.ts'
import type { ConnectionInfo } from './types.ts'

/** A connection used or proven alive within this time is handed out without a ping, and is not idle yet. */
export const FRESH_MILLIS = 500
/** The part of `pool_recycle` that chance may take off, so that connections opened together part. */
const RECYCLE_JITTER = 0.1

/** Times are of the pool's monotonic clock, in milliseconds. */
export interface Session<Raw extends object> {
  readonly id: number
  readonly raw: Raw
  /** The credential that it logged in with. */
  readonly credential: Credential
  /** How long the opening took, and what part of it was spent on fetching the credential. */
  openingMillis: number
  readonly credentialMillis: number
  readonly openedAt: number
  readonly recycleAt: number
  /** The pool's generation when the opening began; `invalidate()` begins a new one. */
  readonly generation: number
  /** In use: between its acquire and its release. */
  busy: boolean
  closed: boolean
  acquiredAt: number
  usedAt: number
  /** When it was last known alive: used, or pinged. */
  provenAt: number
  /** Marked to be closed at the next chance. */
  condemned: CloseReason | undefined
  /** Holds the stack of its acquire while leak detection is on. */
  acquireSite: Error | undefined
  leakReported: boolean
}

/** @param info from the driver */
export function connectionInfo(session: Session<object>, info: SessionInfo, now: number): ConnectionInfo {
  const { id, credential, credentialMillis, openedAt } = session
  return {
    ...info,
    timings: { credential: credentialMillis, ...info.timings },
    id,
    identity: credential.identity,
    credentialKind: credential.kind,
    credentialExpiresAt: credential.expiresAt,
    ageMillis: now - openedAt,
  }
}

export function recycleTime(openedAt: number, recycleMillis: number, random: number): number {
  return openedAt + recycleMillis * (1 - RECYCLE_JITTER * random)
}

/** The facts besides the session that decide whether it may stay. */
export interface Circumstances {
  readonly policy: Policy
  readonly generation: number
  /** The credential that is in force now, once one was seen. */
  readonly credential: Credential | undefined
}

/** Why a session must be closed rather than kept; undefined when it may stay. Its liveness is not decided here. */
export function verdict(session: Session<object>, now: number, given: Circumstances): CloseReason | undefined {
  if (session.condemned !== undefined) return session.condemned
  if (session.generation !== given.generation) return 'invalidated'
  if (now >= session.recycleAt) return 'recycled'
  const { retireOn } = given.policy
  if (retireOn === 'rotation') {
    const { credential } = given
    if (credential !== undefined && !sameSecret(session.credential, credential)) return 'retired'
  } else if (retireOn === 'expiry') {
    const { expiresAt } = session.credential
    if (expiresAt !== undefined && Date.now() >= expiresAt) return 'retired'
  }
  return undefined
}
