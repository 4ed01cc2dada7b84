import type { Duplex } from 'node:stream'
import { onAbort } from '../../abort.ts'
import type { Credential } from '../../credentials/credential.ts'
import type { Phase } from '../../errors.ts'
import { connectEndpoint } from '../network/connect.ts'
import { StreamClosed, Wire } from '../network/wire.ts'
import { explain } from './explain.ts'
import { GssIdentity } from './gss-identity.ts'
import { gssTransport } from './gss-transport.ts'
import { cancelRequest } from './messages.ts'
import type { Session, SessionPlan } from './session-plan.ts'
import { tlsTransport } from './transport.ts'
import { assertPeer, tlsTarget } from './try-once.ts'

/**
 * Asks the server to end what a session is doing, over a connection of its own that is protected like the session's
 * (PostgreSQL documentation, "Canceling Requests in Progress"), as libpq 17 does; older ones send the key unprotected.
 * Resolves when the server has taken the request. The statement may have ended before the server acts on it.
 *
 * @throws PoolsmithError when the connection cannot be opened or protected; the signal's reason
 */
export async function cancelSession(
  session: Session,
  plan: SessionPlan,
  credential: Credential,
  signal: AbortSignal,
): Promise<void> {
  const { endpoint, login } = session
  let phase: Phase = 'connect'
  const enter = (next: Phase): void => {
    phase = next
  }
  const { socket } = await connectEndpoint(endpoint, plan.tunnel, { signal, enter })
  using _ = onAbort(signal, () => socket.destroy())
  try {
    await assertPeer(socket, endpoint, plan)
    const stream = await protectLike(session, socket, { plan, credential, signal, enter })
    enter('login')
    using wire = new Wire(stream, signal)
    wire.write(cancelRequest(login.processId, login.secretKey))
    await closedByServer(wire)
  } catch (cause) {
    signal.throwIfAborted()
    throw explain(cause, { host: plan.host, sslMode: plan.sslMode, endpoint, credential, phase })
  } finally {
    socket.destroy()
  }
}

interface Protection {
  readonly plan: SessionPlan
  readonly credential: Credential
  readonly signal: AbortSignal
  readonly enter: (phase: Phase) => void
}

/** The key for cancelling never travels with less protection than the session. */
async function protectLike(
  { transport }: Session,
  socket: Duplex,
  { plan, credential, signal, enter }: Protection,
): Promise<Duplex> {
  const { kind } = transport.encryption
  if (kind === 'none') return socket
  enter(kind)
  if (kind === 'tls') {
    const setup = await plan.tls.load(credential)
    return (await tlsTransport(socket, tlsTarget(plan, setup, signal))).stream
  }
  using identity = await GssIdentity.open(credential, plan, signal)
  return (await gssTransport(socket, identity, signal)).stream
}

/** The server answers a request by closing the connection, whether there is anything to cancel or not. */
async function closedByServer(wire: Wire): Promise<void> {
  try {
    await wire.read(1)
  } catch (error) {
    if (!(error instanceof StreamClosed)) throw error
  } finally {
    wire.stream.destroy()
  }
}
