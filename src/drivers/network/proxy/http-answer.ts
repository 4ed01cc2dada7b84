/** A proxy's answer to CONNECT (RFC 9112; RFC 9110, 9.3.6): its head, read strictly and within bounds. */

import { TooLong, type Wire } from '../wire.ts'

/** As much as Node's own HTTP parser takes. Kerberos tokens of users in many groups come to about 12 KiB. */
const HEAD_LIMIT_BYTES = 16 * 1024
/** A page that says what went wrong; beyond it the connection is given up rather than read out. */
const BODY_LIMIT_BYTES = 256 * 1024

/** The peer does not speak HTTP correctly. The message repeats nothing of its answer. */
export class NotHttp extends Error {
  override readonly name = 'NotHttp'
}

export interface HttpAnswer {
  readonly status: number
  /** The values of a header, in order; several of one name are not joined. */
  all(name: string): readonly string[]
  /** Whether the connection can carry another request once the body is read. */
  readonly keepsAlive: boolean
}

/**
 * Reads the head of the final answer; interim ones (1xx) are passed over. The bytes behind the head stay in the stream:
 * under a status of 2xx it is the tunnel's, whatever the headers say of a body.
 *
 * @throws NotHttp; StreamClosed
 */
export async function readAnswer(wire: Wire): Promise<HttpAnswer> {
  let budget = HEAD_LIMIT_BYTES
  for (;;) {
    const start = await wire.read(START.length)
    if (start.toString('latin1') !== START) {
      // An alert, which is how TLS answers what is not TLS (RFC 8446, 5.1).
      const tls = start[0] === 0x15 && start[1] === 0x03
      throw new NotHttp(tls ? 'it speaks TLS: use https:// in the proxy URL' : 'it does not answer in HTTP')
    }
    const rest = await bounded(() => wire.readUntil(HEAD_END, budget - START.length), 'its header is too long')
    budget -= START.length + rest.length
    const answer = parseHead(START + rest.toString('latin1'))
    if (answer.status === 101) throw new NotHttp('it switches to another protocol')
    if (answer.status >= 200) return answer
  }
}

const START = 'HTTP/1.'
const HEAD_END = '\r\n\r\n'
const STATUS_LINE = /^HTTP\/1\.([01]) ([1-5]\d\d)(?: [^\p{Cc}]*)?$/u
/** No white space before the colon, no folded lines, no control characters (RFC 9112, 5). */
const HEADER_LINE = /^([!#$%&'*+.^_`|~\w-]+):[ \t]*((?:[^\p{Cc}]|\t)*)$/u

function parseHead(head: string): HttpAnswer {
  const [statusLine = '', ...lines] = head.slice(0, -HEAD_END.length).split('\r\n')
  const first = STATUS_LINE.exec(statusLine)
  if (first === null) throw new NotHttp('its status line is malformed')
  const headers: [string, string][] = lines.map((line) => {
    const match = HEADER_LINE.exec(line)
    if (match === null) throw new NotHttp('a line of its header is malformed')
    const [, name = '', value = ''] = match
    return [name.toLowerCase(), value.trimEnd()]
  })
  const all = (name: string): readonly string[] => headers.filter(([key]) => key === name).map(([, value]) => value)
  const words = [...all('connection'), ...all('proxy-connection')]
    .flatMap((value) => value.split(','))
    .map((word) => word.trim().toLowerCase())
  return {
    status: Number(first[2]),
    all,
    keepsAlive: !words.includes('close') && (first[1] === '1' || words.includes('keep-alive')),
  }
}

/**
 * Reads the body of an answer away, so that the next request's answer comes first.
 *
 * @returns false when it does not say where it ends, or is too long: the connection is of no more use
 */
export async function skipBody(wire: Wire, answer: HttpAnswer): Promise<boolean> {
  if (!answer.keepsAlive) return false
  const codings = answer.all('transfer-encoding')
  if (codings.length > 0) return codings.join().toLowerCase() === 'chunked' && (await skipChunks(wire))
  const lengths = new Set(answer.all('content-length'))
  const [length = ''] = lengths
  if (lengths.size !== 1 || !/^\d{1,15}$/.test(length) || Number(length) > BODY_LIMIT_BYTES) return false
  await skip(wire, Number(length))
  return true
}

async function skipChunks(wire: Wire): Promise<boolean> {
  for (let budget = BODY_LIMIT_BYTES; ; ) {
    const line = await readLine(wire)
    const size = /^([0-9a-f]{1,8})[ \t]*(?:;.*)?$/i.exec(line)
    if (size === null) throw new NotHttp('its body is malformed')
    const bytes = Number.parseInt(size[1] ?? '', 16)
    if (bytes === 0) break
    budget -= bytes
    if (budget < 0) return false
    await skip(wire, bytes)
    if ((await readLine(wire)) !== '') throw new NotHttp('its body is malformed')
  }
  for (let trailers = 0; trailers < 100; trailers++) if ((await readLine(wire)) === '') return true
  return false
}

async function readLine(wire: Wire): Promise<string> {
  const line = await bounded(() => wire.readUntil('\r\n', 1024), 'its body is malformed')
  return line.toString('latin1').slice(0, -2)
}

/** In pieces: a stream hands out no more at once than it buffers. */
async function skip(wire: Wire, bytes: number): Promise<void> {
  for (let left = bytes; left > 0; ) {
    const size = Math.min(left, Math.max(1, wire.waiting))
    await wire.read(size)
    left -= size
  }
}

async function bounded<T>(read: () => Promise<T>, complaint: string): Promise<T> {
  try {
    return await read()
  } catch (error) {
    throw error instanceof TooLong ? new NotHttp(complaint) : error
  }
}
