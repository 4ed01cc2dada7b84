import { StreamClosed, type Wire } from '../network/wire.ts'
import { readFields, readMessage } from './messages.ts'

/** The SQLSTATE of a server that does not know the request, such as PostgreSQL before version 12 for GSSAPI encryption. */
const FEATURE_NOT_SUPPORTED = '0A000'

/**
 * The server answered a request for encryption with an error.
 *
 * Nothing proves at this point that the error comes from the server. Its text is therefore never shown as a message or a
 * hint, and its SQLSTATE has no effect on the credential (CVE-2024-10977). The text goes into a debug event only.
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

  /** Whether the server does not know the request at all, which means the same as declining it. */
  get unknownRequest(): boolean {
    return this.fields.C === FEATURE_NOT_SUPPORTED
  }
}

/**
 * Reads an error in place of an answer.
 *
 * @param begun the bytes of it that have been read, including its `E`
 * @throws NotPostgres when a PostgreSQL server would not send it
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
