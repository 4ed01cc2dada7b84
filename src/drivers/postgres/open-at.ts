import type { Credential } from '../../credentials/credential.ts'
import type { Dialer } from '../network/dialer.ts'
import type { Attempt } from '../places.ts'
import { GssIdentity } from './gss-identity.ts'
import { effectiveGssMode } from './options.ts'
import type { Session, SessionPlan } from './session-plan.ts'
import { tryOnce } from './try-once.ts'
import { type Failure, joined, type Way, waysToTry } from './ways.ts'
import { weaknessesOf } from './weakness.ts'

/**
 * Opens a session at one address: tries the ways to protect it that `gssencmode` and `sslmode` allow, in libpq's order
 * and with libpq's rules for when the next one is tried.
 */
export async function openAt(
  dialer: Dialer,
  plan: SessionPlan,
  credential: Credential,
  attempt: Attempt,
): Promise<Session> {
  const gssMode = effectiveGssMode(plan.options, credential)
  let ways = waysToTry({ sslMode: plan.sslMode, gssMode }, dialer.endpoint, credential)
  const failures: Failure[] = []
  using gss = await openGss(plan, credential, ways, attempt)
  if (gss.identity === undefined && ways[0] === 'gss') {
    failures.push({ way: 'gss', error: gss.error })
    ways = ways.slice(1)
  }
  for (;;) {
    const outcome = await tryOnce(ways, { dialer, plan, credential, identity: gss.identity, attempt })
    if (outcome === 'again') {
      attempt.signal.throwIfAborted()
      continue
    }
    if (outcome.session !== undefined) {
      const { session } = outcome
      for (const warning of weaknessesOf(session, failures, plan, gssMode)) plan.emit('security:warning', warning)
      return session
    }
    if (attempt.signal.aborted) throw outcome.error
    failures.push(outcome)
    ways = outcome.rest
    if (ways.length === 0) throw joined(failures)
  }
}

/** Acquires the ticket where one is needed. Without a ticket only the ways that need none are tried, as in libpq. */
async function openGss(
  plan: SessionPlan,
  credential: Credential,
  ways: readonly Way[],
  attempt: Attempt,
): Promise<{ readonly identity?: GssIdentity; readonly error?: unknown } & Disposable> {
  const nothing = { [Symbol.dispose]: () => undefined }
  if (credential.kind !== 'gss' && ways[0] !== 'gss') return nothing
  attempt.enter('credential')
  try {
    const identity = await GssIdentity.open(credential, plan, attempt.signal)
    return { identity, [Symbol.dispose]: () => identity[Symbol.dispose]() }
  } catch (error) {
    if (credential.kind === 'gss' || ways.length === 1 || attempt.signal.aborted) throw error
    return { error, ...nothing }
  }
}
