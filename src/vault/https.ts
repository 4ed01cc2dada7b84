/** One request to a store of secrets and its whole answer, within bounds of time and size. */

import type { IncomingHttpHeaders, IncomingMessage, RequestOptions } from 'node:http'
import { request as plainRequest } from 'node:http'
import { request as tlsRequest } from 'node:https'
import type { SecureContextOptions } from 'node:tls'
import { errorCode } from '../any-error.ts'
import { credentialFailure, proxyFailure } from '../credentials/failure.ts'
import { inSentence, PoolsmithError } from '../errors.ts'
import { LimitedSignal } from '../limited-signal.ts'

/** The longest answer that is read, in bytes: a secret of Vault or Kubernetes has at most 1 MiB. */
const ANSWER_LIMIT_BYTES = 1024 * 1024

export interface StoreRequest {
  /** Begins every message: `The Vault server vault.example.com:8200`. */
  readonly subject: string
  readonly url: URL
  readonly method: 'GET' | 'POST' | 'PUT'
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array | undefined
}

export interface StoreAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
}

export interface Channel {
  readonly signal: AbortSignal
  /** The limit of one request, to the last byte of its answer. */
  readonly limitMillis: number
  /** The authorities that are trusted, and the client's certificate. */
  readonly tls?: SecureContextOptions | undefined
  /** For HTTPS, where requests go through a proxy. */
  readonly agent?: RequestOptions['agent'] | undefined
}

/**
 * Sends one request. A redirection is an answer like others, and is not followed here.
 *
 * @throws PoolsmithError STORE_UNREACHABLE, STORE_TIMEOUT, STORE_ANSWER_UNUSABLE, PROXY_…; the signal's reason
 */
export async function ask(question: StoreRequest, channel: Channel): Promise<StoreAnswer> {
  const { signal, limitMillis } = channel
  const { subject, url } = question
  using limit = new LimitedSignal(signal, limitMillis)
  try {
    return await exchange(question, limit.signal, channel)
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof PoolsmithError) throw error
    if (limit.hasStruck) {
      throw new PoolsmithError(`${subject} did not answer within ${limitMillis / 1000} s.`, {
        code: 'STORE_TIMEOUT',
        phase: 'credential',
        transient: true,
        hint: `Check that ${url.host} can be reached from here (DNS, firewall, proxy).`,
        details: { host: url.host },
      })
    }
    const untrusted = /CERT|ISSUER|SIGNATURE/.test(errorCode(error) ?? '')
    const hint = untrusted
      ? `Name the authority that signed the certificate of ${url.host}, in PEM form.`
      : `Check that ${url.host} can be reached from here (DNS, firewall, proxy).`
    throw (
      proxyFailure(subject, error) ??
      credentialFailure(`${subject} cannot be reached`, error, {
        code: 'STORE_UNREACHABLE',
        transient: !untrusted,
        hint,
        details: { host: url.host },
      })
    )
  }
}

async function exchange(question: StoreRequest, signal: AbortSignal, channel: Channel): Promise<StoreAnswer> {
  const { subject, url, method, headers, body } = question
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const options = {
      method,
      headers: { 'user-agent': 'poolsmith', ...headers },
      signal,
      // Plain HTTP goes to this machine alone, and through no proxy.
      agent: (url.protocol === 'https:' && channel.agent) || false,
    }
    const sending =
      url.protocol === 'https:'
        ? // Also under NODE_TLS_REJECT_UNAUTHORIZED=0, which would make a named authority void.
          tlsRequest(url, { ...options, ...channel.tls, rejectUnauthorized: true })
        : plainRequest(url, options)
    // For ever: the connection may fail again once the answer has begun.
    sending.on('error', reject)
    sending.once('response', resolve)
    sending.end(body)
  })
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > ANSWER_LIMIT_BYTES) throw unusable(subject, url, `is longer than ${ANSWER_LIMIT_BYTES} bytes`)
    chunks.push(chunk)
  }
  return { status: response.statusCode ?? 0, headers: response.headers, text: Buffer.concat(chunks).toString('utf8') }
}

/** @param what completes the sentence that begins with the answer: `is not JSON` */
export function unusable(subject: string, url: URL, what: string): PoolsmithError {
  return new PoolsmithError(`The answer of ${inSentence(subject)} ${what}.`, {
    code: 'STORE_ANSWER_UNUSABLE',
    phase: 'credential',
    hint: `See what answers at ${url.origin}: a proxy or a login page may stand in its place.`,
    details: { host: url.host },
  })
}
