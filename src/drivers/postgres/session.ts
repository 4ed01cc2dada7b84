import type { Credential } from '../../credentials/credential.ts'
import { connectTimeout } from '../connect-timeout.ts'
import { Dialer } from '../network/dialer.ts'
import { eachAddress } from '../network/each-address.ts'
import { numericAddress } from '../network/numeric-address.ts'
import { type Endpoint, resolveHost } from '../network/socket.ts'
import type { Attempt } from '../places.ts'
import { shuffled } from '../shuffled.ts'
import { openAt } from './open-at.ts'
import type { Session, SessionPlan } from './session-plan.ts'

/** Opens one session: resolves the host and logs in at the first address that answers. */
export async function openSession(plan: SessionPlan, credential: Credential, attempt: Attempt): Promise<Session> {
  const { reachability, tunnel, options } = plan
  const endpoints = await findEndpoints(plan, attempt)
  const inOrder = options.load_balance_hosts === 'random' ? shuffled(endpoints) : endpoints
  const dialer = new Dialer(inOrder, reachability, { deadline: attempt.deadline, tunnel })
  const { connect_timeout: limitSeconds } = options
  const limits = {
    signal: attempt.signal,
    limitMillis: limitSeconds === 0 ? undefined : limitSeconds * 1000,
    timeout: (limitMillis: number) =>
      connectTimeout({
        host: plan.host,
        phase: attempt.phase(),
        seconds: limitMillis / 1000,
        limitSeconds,
        proxy: tunnel?.proxy,
        mayBePooler: true,
      }),
  }
  return eachAddress(dialer, limits, (signal) => openAt(dialer, plan, credential, { ...attempt, signal }))
}

async function findEndpoints(plan: SessionPlan, attempt: Attempt): Promise<readonly Endpoint[]> {
  const { host, port, hostaddr } = plan
  if (host.startsWith('/')) return [{ kind: 'unix', path: `${host}/.s.PGSQL.${port}` }]
  if (hostaddr !== undefined) return [{ kind: 'tcp', address: numericAddress(hostaddr) ?? hostaddr, port }]
  // The proxy resolves the name, in its own network.
  if (plan.tunnel !== undefined) return [{ kind: 'tcp', address: host, port }]
  attempt.enter('dns')
  const addresses = await resolveHost(host, plan.lookup, attempt.signal)
  return addresses.map((address) => ({ kind: 'tcp', address, port }))
}
