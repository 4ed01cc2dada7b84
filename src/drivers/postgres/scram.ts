import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { printable } from '../../printable.ts'
import type { Secret } from '../../secret.ts'

/**
 * The client's side of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677; PostgreSQL documentation,
 * "SASL Authentication"). The user name in it is empty: the server takes it from the start-up message.
 */

/** The server violated the rules of the exchange, or could not prove that it knows the password. */
export class ScramFailure extends Error {
  override readonly name = 'ScramFailure'
  readonly reason: 'malformed' | 'iterations' | 'signature' | 'refused'

  constructor(reason: ScramFailure['reason'], message: string) {
    super(message)
    this.reason = reason
  }
}

/**
 * The statement of the client about channel binding. `bound` carries the hash of the server's certificate. `unoffered`:
 * the client supports it but saw no offer, so that a server whose offer was removed on the way detects that.
 */
export type ChannelBinding =
  | { readonly kind: 'bound'; readonly certificateHash: Buffer }
  | { readonly kind: 'unoffered' }
  | { readonly kind: 'none' }

/**
 * These take a few seconds of a thread, which nothing can interrupt; a server that is not genuine could ask for two
 * billion. PostgreSQL's default is 4096.
 */
export const MAX_ITERATIONS = 10_000_000

const deriveKey = promisify(pbkdf2)
const hmac = (key: Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest()

export class ScramClient {
  readonly #password: Secret
  readonly #nonce: string
  readonly #gs2Header: string
  readonly #bindingData: Buffer
  #serverSignature: Buffer | undefined

  constructor(password: Secret, binding: ChannelBinding, nonce: string = randomBytes(18).toString('base64')) {
    this.#password = password
    this.#nonce = nonce
    this.#gs2Header = binding.kind === 'bound' ? 'p=tls-server-end-point,,' : binding.kind === 'none' ? 'n,,' : 'y,,'
    this.#bindingData = Buffer.concat([
      Buffer.from(this.#gs2Header),
      binding.kind === 'bound' ? binding.certificateHash : Buffer.alloc(0),
    ])
  }

  firstMessage(): Buffer {
    return Buffer.from(`${this.#gs2Header}n=,r=${this.#nonce}`)
  }

  /** Answers the server's first message with the proof. The key is derived on the thread pool. */
  async finalMessage(serverFirst: string): Promise<Buffer> {
    const match = /^r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z0-9+/]+={0,2}),i=([1-9]\d{0,9})(?:,.*)?$/.exec(serverFirst)
    const [, nonce = '', salt = '', rounds = ''] = match ?? []
    if (match === null) throw new ScramFailure('malformed', 'the first SCRAM message of the server is malformed')
    if (!nonce.startsWith(this.#nonce) || nonce.length === this.#nonce.length) {
      throw new ScramFailure('malformed', 'the nonce of the server does not begin with the one of the client')
    }
    const iterations = Number(rounds)
    if (iterations > MAX_ITERATIONS) {
      throw new ScramFailure(
        'iterations',
        `the server asks for ${iterations} iterations, and at most ${MAX_ITERATIONS} are calculated`,
      )
    }
    const salted = await saltedPassword(this.#password, salt, iterations)
    const clientKey = hmac(salted, 'Client Key')
    const storedKey = createHash('sha256').update(clientKey).digest()
    const withoutProof = `c=${this.#bindingData.toString('base64')},r=${nonce}`
    const authMessage = `n=,r=${this.#nonce},${serverFirst},${withoutProof}`
    const clientSignature = hmac(storedKey, authMessage)
    const proof = Buffer.from(clientKey.map((byte, index) => byte ^ (clientSignature[index] ?? 0)))
    this.#serverSignature = hmac(hmac(salted, 'Server Key'), authMessage)
    return Buffer.from(`${withoutProof},p=${proof.toString('base64')}`)
  }

  /** Checks that the server knows the password too. */
  verify(serverFinal: string): void {
    if (serverFinal.startsWith('e='))
      throw new ScramFailure('refused', `the server ended SCRAM: ${printable(serverFinal.slice(2), 200)}`)
    const match = /^v=([A-Za-z0-9+/]+={0,2})(?:,.*)?$/.exec(serverFinal)
    const given = Buffer.from(match?.[1] ?? '', 'base64')
    const wanted = this.#serverSignature
    if (wanted === undefined || given.length !== wanted.length || !timingSafeEqual(given, wanted)) {
      throw new ScramFailure('signature', 'the server could not prove that it knows the password')
    }
  }
}

/**
 * The salted password, which a client may keep (RFC 5802, section 3). Deriving it takes most of the time of a login, and a
 * pool that opens twenty sessions at once would do it twenty times. It is kept as long as its password.
 */
const derived = new WeakMap<Secret, { readonly name: string; readonly key: Promise<Buffer> }>()

async function saltedPassword(password: Secret, salt: string, iterations: number): Promise<Buffer> {
  const name = `${iterations},${salt}`
  const known = derived.get(password)
  if (known?.name === name) return known.key
  const key = prepare(password.reveal()).then((prepared) =>
    deriveKey(prepared, Buffer.from(salt, 'base64'), iterations, 32, 'sha256'),
  )
  derived.set(password, { name, key })
  return key
}

/**
 * A password as PostgreSQL keeps it, so that the password itself is never sent to be set (PostgreSQL documentation,
 * "pg_authid"; RFC 5803). The server takes it in place of the password.
 */
export async function scramVerifier(
  password: Secret,
  iterations: number,
  salt: Buffer = randomBytes(16),
): Promise<string> {
  const salted = await deriveKey(await prepare(password.reveal()), salt, iterations, 32, 'sha256')
  const storedKey = createHash('sha256').update(hmac(salted, 'Client Key')).digest('base64')
  const serverKey = hmac(salted, 'Server Key').toString('base64')
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${storedKey}:${serverKey}`
}

/** SASLprep (RFC 4013). A password that does not conform is used unchanged, as in PostgreSQL. */
async function prepare(password: string): Promise<string> {
  if (/^[\x20-\x7e]*$/.test(password)) return password
  const { saslprep } = await import('@mongodb-js/saslprep')
  try {
    return saslprep(password) || password
  } catch {
    return password
  }
}
