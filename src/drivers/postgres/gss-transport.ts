import type { Duplex } from 'node:stream'
import type { PoolsmithError } from '../../errors.ts'
import { kerberosError } from '../../kerberos/errors.ts'
import type { GssContext, GssFlag } from '../../kerberos/gss-api.ts'
import { peersOf } from '../kerberos-info.ts'
import { StreamClosed, Wire } from '../network/wire.ts'
import type { GssIdentity } from './gss-identity.ts'
import { GssStream, LENGTH_BYTES } from './gss-stream.ts'
import { gssEncryptionRequest, NotPostgres } from './messages.ts'
import { NegotiationRefusal, negotiationRefusal } from './negotiation.ts'
import type { Transport } from './transport.ts'

/** The server has no GSSAPI encryption; the same stream may go on without it. */
export class GssNotOffered extends Error {
  override readonly name = 'GssNotOffered'
}

/** The server was ready to encrypt, and the set-up failed; `cause` says why. */
export class GssSetupFailed extends Error {
  override readonly name = 'GssSetupFailed'
}

/** The flags that an encrypted session needs; a mechanism that lacks one fails. */
export const ENCRYPTION_FLAGS: readonly GssFlag[] = ['mutual', 'replay', 'sequence', 'confidentiality', 'integrity']

/** The largest token of the set-up, its length not included (PostgreSQL's PqGSS_AUTH_BUFFER_SIZE). */
const MAX_TOKEN = 65_536 - LENGTH_BYTES

/**
 * Asks the server for an encrypted GSSAPI session and sets it up (PostgreSQL documentation, "GSSAPI Session
 * Encryption").
 *
 * @throws GssNotOffered when the server declines; GssSetupFailed; NegotiationRefusal when it answers with an error;
 *   StreamClosed and NotPostgres for anything else in place of the answer; PoolsmithError GSS_STUFFED
 */
export async function gssTransport(stream: Duplex, identity: GssIdentity, signal: AbortSignal): Promise<Transport> {
  using wire = new Wire(stream, signal)
  await askForGss(wire)
  const context = await establish(wire, identity, signal)
  return {
    stream: new GssStream(stream, context),
    encryption: { kind: 'gss' },
    exposed: false,
    kerberos: peersOf(context.inquire()),
  }
}

async function askForGss(wire: Wire): Promise<void> {
  wire.write(gssEncryptionRequest())
  const answer = (await wire.read(1)).toString('latin1')
  if (answer === 'E') throw await negotiationRefusal(wire, 'gss', Buffer.from('E'))
  if (answer === 'N') throw new GssNotOffered('no GSSAPI encryption')
  if (answer !== 'G') throw new NotPostgres(`${JSON.stringify(answer)} instead of G or N`)
  // The server sends nothing before our token: bytes that are here come from an attacker (CVE-2021-23222).
  if (wire.waiting > 0) throw kerberosError('GSS_STUFFED', {}, { phase: 'gss' })
}

/** Exchanges tokens until both sides have proved their identity. */
async function establish(wire: Wire, identity: GssIdentity, signal: AbortSignal): Promise<GssContext> {
  let context: GssContext | undefined
  try {
    context = identity.context(ENCRYPTION_FLAGS)
    let step = await context.step(undefined, { signal })
    for (;;) {
      if (step.token !== undefined) wire.write(framed(step.token))
      if (step.complete) break
      step = await context.step(await readToken(wire), { signal })
    }
    const missing = ENCRYPTION_FLAGS.filter((flag) => context?.flags.includes(flag) !== true)
    if (missing.length === 0) return context
    throw kerberosError(
      'GSS_SERVER_REFUSED',
      { spn: context.target },
      { phase: 'gss', more: `The session would lack: ${missing.join(', ')}.` },
    )
  } catch (cause) {
    context?.[Symbol.dispose]()
    if (cause instanceof NegotiationRefusal) throw cause
    const said = cause instanceof StreamClosed ? closedInSetup(context, identity, cause) : cause
    throw new GssSetupFailed('GSSAPI encryption could not be set up', { cause: said })
  }
}

/** A server that cannot accept the ticket reports that only in its log. */
function closedInSetup(
  context: GssContext | undefined,
  { principal }: GssIdentity,
  cause: StreamClosed,
): PoolsmithError {
  return kerberosError('GSS_SERVER_REFUSED', { principal, spn: context?.target }, { phase: 'gss', cause })
}

async function readToken(wire: Wire): Promise<Buffer> {
  const head = await wire.read(LENGTH_BYTES)
  // In place of a length: an ErrorResponse.
  if (head[0] === 0x45) throw await negotiationRefusal(wire, 'gss', head)
  const size = head.readUInt32BE(0)
  if (size > MAX_TOKEN) throw new NotPostgres(`a GSSAPI token of ${size} bytes`)
  return wire.read(size)
}

function framed(token: Buffer): Buffer {
  const length = Buffer.alloc(LENGTH_BYTES)
  length.writeUInt32BE(token.length)
  return Buffer.concat([length, token])
}
