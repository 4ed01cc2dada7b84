import { printable } from '../../printable.ts'
import { END_OF_MESSAGE, HEADER_BYTES, LARGEST_LOGIN_BYTES, NotSqlServer, PACKET } from './packets.ts'
import { TOKEN } from './stream-parser.ts'

/** MS-TDS 2.2.6.4, PacketSize. */
const SMALLEST_PACKET = 512
const LARGEST_PACKET = 32_767

/** The request that a server has not answered yet. */
interface Asking {
  readonly request: object | undefined
  /** The server is asked to cancel the request. */
  readonly attentionSent: boolean
}

/**
 * Checks the headers of the packets that arrive, and until the session is open their total length. tedious reads any eight
 * bytes as a header and then waits for the length in them: the answer of a web server would be waited for without end,
 * and an endless answer to a login would fill the memory. It would also take a message that nothing has asked for as the answer
 * to the next statement, and each later answer for that of the statement after its own.
 */
export class PacketGuard {
  readonly #header = Buffer.alloc(HEADER_BYTES)
  #headerBytes = 0
  /** How much of the present packet's body is still to come. */
  #remaining = 0
  #budget = LARGEST_LOGIN_BYTES
  #largest = LARGEST_PACKET
  readonly #session: Asking | undefined
  /** Messages that have begun since the last request. */
  #answers = 0
  #isInMessage = false
  #isOpen = false

  /** @param session undefined: every message is taken for an answer */
  constructor(session?: Asking) {
    this.#session = session
  }

  /** The session's number, which stands in every packet of the server (SPID, MS-TDS 2.2.3.1.4); 0 where it does not. */
  get sessionId(): number | undefined {
    return this.#header.readUInt16BE(4) || undefined
  }

  /**
   * The server has set the size of packets (ENVCHANGE 4), which its own keep to from the next answer on, as Microsoft's
   * JDBC driver insists too. With a size below that of the header tedious would send empty packets without end.
   *
   * @throws NotSqlServer for a size that cannot be one
   */
  grant(size: number): void {
    if (!Number.isInteger(size) || size < SMALLEST_PACKET || size > LARGEST_PACKET) {
      throw new NotSqlServer(`packets of ${size} bytes, where ${SMALLEST_PACKET} to ${LARGEST_PACKET} are allowed`)
    }
    this.#largest = size
  }

  /** The session is open: answers may have any length, and the server speaks only when it is asked. */
  liftLimit(): void {
    this.#isOpen = true
    this.#budget = Number.POSITIVE_INFINITY
  }

  /** One to the request, and one to its cancelling. */
  get #mostAnswers(): number {
    if (!this.#isOpen || this.#session === undefined) return Number.POSITIVE_INFINITY
    return this.#session.request === undefined ? 0 : this.#session.attentionSent ? 2 : 1
  }

  /** A request is sent, after the last one was answered. */
  asked(): void {
    this.#answers = 0
  }

  /** @throws NotSqlServer as soon as a header cannot be one, or too much or something unasked has come */
  accept(chunk: Buffer): void {
    this.#budget -= chunk.length
    if (this.#budget < 0) throw new NotSqlServer(`an answer to a login of more than ${LARGEST_LOGIN_BYTES} bytes`)
    let at = 0
    while (at < chunk.length) {
      if (this.#remaining > 0) {
        const body = Math.min(this.#remaining, chunk.length - at)
        this.#remaining -= body
        at += body
        continue
      }
      const copied = chunk.copy(this.#header, this.#headerBytes, at)
      this.#headerBytes += copied
      at += copied
      if (this.#header[0] !== PACKET.answer) throw new NotSqlServer('bytes that are no TDS packet')
      if (this.#headerBytes < HEADER_BYTES) return
      const length = this.#header.readUInt16BE(2)
      if (length < HEADER_BYTES || length > LARGEST_PACKET) throw new NotSqlServer('a TDS packet of impossible length')
      if (length > this.#largest)
        throw new NotSqlServer(`a packet of ${length} bytes, where ${this.#largest} were agreed on`)
      if (!this.#isInMessage && ++this.#answers > this.#mostAnswers) throw new NotSqlServer(unasked(chunk.subarray(at)))
      this.#isInMessage = ((this.#header[1] ?? 0) & END_OF_MESSAGE) === 0
      this.#headerBytes = 0
      this.#remaining = length - HEADER_BYTES
    }
  }
}

/** Where the text of an ERROR token begins, behind number, state, class and the length of the text (MS-TDS 2.2.7.10). */
const ERROR_TEXT = 11

/** Of a message that no request had asked for: a server that ends an idle session may say why before. */
function unasked(body: Buffer): string {
  if (body[0] !== TOKEN.error || body.length < ERROR_TEXT) return 'an answer that no request had asked for'
  const text = body.toString('utf16le', ERROR_TEXT, ERROR_TEXT + body.readUInt16LE(ERROR_TEXT - 2) * 2)
  return `an error that no request had asked for: ${printable(text)}`
}
