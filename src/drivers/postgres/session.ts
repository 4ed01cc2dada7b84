import { onAbort, TimeLimit } from '../../abort.ts'
import type { Credential } from '../../credentials/credential.ts'
import { PoolsmithError } from '../../errors.ts'
import { type Endpoint, resolveHost } from '../network/socket.ts'
import { openAt } from './open-at.ts'
import type { Attempt, Session, SessionPlan } from './session-plan.ts'

/** Opens one session: resolves the host, and tries its addresses one after the other as libpq does. */
export async function openSession(plan: SessionPlan, credential: Credential, attempt: Attempt): Promise<Session> {
  const endpoints = await findEndpoints(plan, attempt)
  let last: unknown
  for (const endpoint of endpoints) {
    try {
      return await withLimit(plan, attempt, (limited) => openAt(endpoint, plan, credential, limited))
    } catch (error) {
      // The next address is tried only where this one cannot be reached or does not answer.
      const unreachable =
        error instanceof PoolsmithError && (error.phase === 'connect' || error.code === 'CONNECT_TIMEOUT')
      if (!unreachable || attempt.signal.aborted) throw error
      last = error
    }
  }
  throw last
}

async function findEndpoints(plan: SessionPlan, attempt: Attempt): Promise<readonly Endpoint[]> {
  const { host, port, options } = plan
  if (host.startsWith('/')) return [{ kind: 'unix', path: `${host}/.s.PGSQL.${port}` }]
  if (options.hostaddr !== undefined) return [{ kind: 'tcp', address: options.hostaddr, port }]
  // The proxy resolves the name, in its own network.
  if (plan.tunnel !== undefined) return [{ kind: 'tcp', address: host, port }]
  attempt.enter('dns')
  const addresses = await resolveHost(host, plan.lookup, attempt.signal)
  return addresses.map((address) => ({ kind: 'tcp', address, port }))
}

/** Runs the attempt at one address under `connect_timeout`. */
async function withLimit<T>(plan: SessionPlan, attempt: Attempt, run: (attempt: Attempt) => Promise<T>): Promise<T> {
  const { connect_timeout: limitSeconds } = plan.options
  if (limitSeconds === 0) return run(attempt)
  const limit = new AbortController()
  using _ = onAbort(attempt.signal, () => limit.abort(attempt.signal.reason))
  using __ = new TimeLimit(limitSeconds * 1000, () => limit.abort(connectTimeout(plan, attempt)))
  limit.signal.throwIfAborted()
  return await run({ ...attempt, signal: limit.signal })
}

function connectTimeout({ host, options }: SessionPlan, attempt: Attempt): PoolsmithError {
  const phase = attempt.phase()
  return new PoolsmithError(
    `${host} did not answer within ${options.connect_timeout} s (connect_timeout), in the phase ${phase}.`,
    {
      code: 'CONNECT_TIMEOUT',
      phase,
      transient: true,
      hint:
        phase === 'connect'
          ? 'A firewall may drop the packets silently; check security groups and the address.'
          : 'The server accepts connections but does not answer; it may be overloaded or frozen.',
    },
  )
}
