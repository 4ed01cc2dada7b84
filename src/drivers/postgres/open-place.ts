/** The places of a PostgreSQL record, by libpq's rules. */

import { Place, sharedPlace } from '../../hosts/place.ts'
import { connectTimeout } from '../connect-timeout.ts'
import { addressOf, systemLookup } from '../network/socket.ts'
import { Places } from '../places.ts'
import { terminateMessage } from './messages.ts'
import { openSession } from './session.ts'
import type { Session, SessionPlan } from './session-plan.ts'

/** cannot_connect_now: the server is starting, stopping, or not yet consistent. */
const CANNOT_CONNECT_NOW = '57P03'

/** How long a server that is left may take to close the connection. */
const GOODBYE_MILLIS = 1000

/** @param all at least one, with the same options */
export function postgresPlaces(all: readonly SessionPlan[]): Places<SessionPlan, Session> {
  const { target_session_attrs: target = 'any', load_balance_hosts: balance } = all[0]?.options ?? {}
  return new Places(all, {
    target,
    shuffles: balance === 'random',
    open: openSession,
    misfitOf: ({ login }) => login.misfit,
    serverOf: ({ endpoint, login }) => ({ address: addressOf(endpoint), role: login.role }),
    knownAs,
    leave,
    goesOn: ({ details }) => details.sqlstate === CANNOT_CONNECT_NOW,
    timeout: ({ host, options, tunnel }, phase, seconds) =>
      connectTimeout({
        host,
        phase,
        seconds,
        limitSeconds: options.connect_timeout,
        proxy: tunnel?.proxy,
        mayBePooler: true,
      }),
  })
}

/** A resolver of its own, as in tests, leads to other servers. */
function knownAs({ host, port, hostaddr, tunnel, lookup }: SessionPlan): Place {
  if (lookup !== systemLookup) return new Place({ host, port })
  return sharedPlace({ host, port }, hostaddr, tunnel?.proxy)
}

/** Says goodbye to a session that is of no use. */
function leave({ transport, socket }: Session): void {
  transport.stream.end(terminateMessage())
  transport.stream.resume()
  socket.unref()
  socket.setTimeout(GOODBYE_MILLIS, () => socket.destroy())
}
