import type { Duplex } from 'node:stream'
import type { Credential } from '../../credentials/credential.ts'
import { connectEndpoint } from '../network/connect.ts'
import { StreamClosed, Wire } from '../network/wire.ts'
import { GssIdentity } from './gss-identity.ts'
import { gssTransport } from './gss-transport.ts'
import { cancelRequest } from './messages.ts'
import type { Session, SessionPlan } from './session-plan.ts'
import { tlsTransport } from './transport.ts'
import { assertPeer, tlsTarget } from './try-once.ts'

/**
 * Asks the server to end what a session is doing, over a connection of its own that is protected like the session's
 * ("Canceling Requests in Progress"), as libpq 17 has it: older ones send the key in the open. Resolves when the server has taken the request; it may come too late.
 */
export async function cancelSession(
  session: Session,
  plan: SessionPlan,
  credential: Credential,
  signal: AbortSignal,
): Promise<void> {
  const { socket } = await connectEndpoint(session.endpoint, plan.tunnel, { signal, enter: () => undefined })
  let stream: Duplex = socket
  try {
    await assertPeer(socket, session.endpoint, plan)
    const { kind } = session.transport.encryption
    if (kind === 'tls') {
      const setup = await plan.tls.load(credential)
      stream = (await tlsTransport(socket, tlsTarget(plan, setup, signal))).stream
    } else if (kind === 'gss') {
      using identity = await GssIdentity.open(credential, plan, signal)
      stream = (await gssTransport(socket, identity, signal)).stream
    }
    using wire = new Wire(stream, signal)
    wire.write(cancelRequest(session.login.processId, session.login.secretKey))
    // The server answers by closing.
    await wire.read(1)
  } catch (error) {
    if (!(error instanceof StreamClosed)) throw error
  } finally {
    stream.destroy()
    socket.destroy()
  }
}
