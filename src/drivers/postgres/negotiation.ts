import { StreamClosed, type Wire } from '../network/wire.ts'
import { readFields, readMessage } from './messages.ts'

/** SQLSTATE of a server that does not know the request: PostgreSQL before version 12 for GSSAPI encryption. */
const FEATURE_NOT_SUPPORTED = '0A000'

/**
 * The server answered a request for encryption with an error.
 *
 * Nothing proves at this point that the error comes from the server, so its text is neither a message nor advice, and
 * its SQLSTATE says nothing about our credential (CVE-2024-10977). The text goes into an event for debugging only.
 */
export class NegotiationRefusal extends Error {
  override readonly name = 'NegotiationRefusal'
  readonly asked: 'tls' | 'gss'
  readonly fields: Readonly<Record<string, string>>

  constructor(asked: 'tls' | 'gss', fields: Readonly<Record<string, string>>) {
    super('an error in the middle of the negotiation')
    this.asked = asked
    this.fields = fields
  }

  /** The server does not know the request at all, which says as much as a plain no. */
  get unknownRequest(): boolean {
    return this.fields.C === FEATURE_NOT_SUPPORTED
  }
}

/**
 * Reads an error that came in place of an answer.
 *
 * @param begun what has been read of it so far, its `E` included
 * @throws NotPostgres when it is no error of a PostgreSQL server
 */
export async function negotiationRefusal(wire: Wire, asked: 'tls' | 'gss', begun: Buffer): Promise<NegotiationRefusal> {
  wire.stream.unshift(begun)
  try {
    const { body } = await readMessage(wire, 'E')
    return new NegotiationRefusal(asked, readFields(body))
  } catch (cause) {
    if (cause instanceof StreamClosed) return new NegotiationRefusal(asked, {})
    throw cause
  }
}
