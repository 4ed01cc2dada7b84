import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { type Agent, request } from 'node:https'
import { errorCode } from '../../../any-error.ts'
import { credentialFailure, faultOf, isTransient, proxyFailure } from '../../../credentials/failure.ts'
import { PoolsmithError } from '../../../errors.ts'
import { LimitedSignal } from '../../../limited-signal.ts'
import { retryAfterMillis } from '../../../retry-after.ts'
import { type FederationStep, federationError } from './errors.ts'

/** The metadata of AD FS come to about 150 KB. */
const ANSWER_LIMIT_BYTES = 1024 * 1024

export interface Question {
  readonly step: FederationStep
  /** The peer and the request, as the beginning of a message: `The federation metadata of sts.example.com`. */
  readonly subject: string
  readonly url: URL
  readonly headers?: Readonly<Record<string, string>>
  /** Makes it a POST. */
  readonly body?: string
}

export interface Answer {
  /** Never a redirection's. */
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
}

export interface Web {
  readonly signal: AbortSignal
  /** The limit of one request, default 10,000. The fetch that it belongs to has its own limit. */
  readonly limitMillis?: number | undefined
  /** Default: a connection of its own, without a proxy. */
  readonly agent?: Agent | undefined
}

/**
 * One HTTPS request and its whole answer, within bounds of time and size. No redirection is followed: what is sent
 * here (a ticket, an assertion) is for this host alone.
 *
 * @throws FEDERATION_FAILED, CREDENTIAL_TIMEOUT, CREDENTIAL_FAILED, PROXY_…; the signal's reason
 */
export async function ask(question: Question, { signal, limitMillis = 10_000, agent }: Web): Promise<Answer> {
  using limit = new LimitedSignal(signal, limitMillis)
  try {
    return await exchange(question, limit.signal, agent)
  } catch (error) {
    signal.throwIfAborted()
    const { subject, url } = question
    if (limit.hasStruck) {
      throw new PoolsmithError(`${subject}: no answer within ${limitMillis / 1000} s.`, {
        code: 'CREDENTIAL_TIMEOUT',
        phase: 'credential',
        transient: true,
        hint: `Check that ${url.host} can be reached from here (DNS, firewall, proxy).`,
        details: { step: question.step },
      })
    }
    const untrusted = /CERT|ISSUER|SIGNATURE/.test(errorCode(error) ?? '')
    throw (
      proxyFailure(subject, error) ??
      credentialFailure(subject, error, {
        details: { step: question.step },
        ...(untrusted
          ? {
              hint: `Set NODE_EXTRA_CA_CERTS to a PEM file with the authority that signed the certificate of ${url.host}.`,
            }
          : {}),
      })
    )
  }
}

async function exchange({ step, subject, url, headers, body }: Question, signal: AbortSignal, agent?: Agent) {
  if (url.protocol !== 'https:') {
    throw federationError('FEDERATION_FAILED', `${subject}: its address is not https.`, {
      step,
      hint: 'Nothing is ever sent there unencrypted: have the address corrected in the federation settings.',
    })
  }
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const sending = request(url, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { 'user-agent': 'poolsmith', ...headers },
      agent: agent ?? false,
      signal,
      // Also under NODE_TLS_REJECT_UNAUTHORIZED=0: a ticket and an assertion are sent.
      rejectUnauthorized: true,
    })
    // For ever: the connection may fail again once the answer has begun.
    sending.on('error', reject)
    sending.once('response', resolve)
    sending.end(body)
  })
  const status = response.statusCode ?? 0
  if (status >= 300 && status < 400) {
    response.destroy()
    throw federationError('FEDERATION_FAILED', `${subject}: the answer is a redirection (${status}).`, {
      step,
      hint: 'Redirections are never followed. A portal that wants a login by browser answers so; so does a proxy.',
      details: { status },
    })
  }
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > ANSWER_LIMIT_BYTES) {
      throw federationError('FEDERATION_FAILED', `${subject}: the answer is longer than ${ANSWER_LIMIT_BYTES} bytes.`, {
        step,
        hint: `See what answers at ${url.host}.`,
      })
    }
    chunks.push(chunk)
  }
  return { status, headers: response.headers, text: Buffer.concat(chunks).toString('utf8') }
}

/** The error for an answer that says no more than its status: transient when the server is in trouble. */
export function statusFailure({ step, subject, url }: Question, { status, headers }: Answer): PoolsmithError {
  const error = Object.assign(new Error(`the answer is HTTP ${status}`), { status })
  if (!isTransient(faultOf(error))) {
    return federationError('FEDERATION_FAILED', `${subject}: ${error.message}.`, {
      step,
      hint: `See what answers at ${url.host}${url.pathname}.`,
      details: { status },
    })
  }
  const wait = retryAfterMillis(headers['retry-after'])
  return credentialFailure(subject, error, {
    details: { step, ...(wait === undefined ? {} : { retryAfterMillis: wait }) },
  })
}

/** An answer's JSON object; undefined when it is none. */
export function jsonOf(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? { ...value } : undefined
  } catch {
    // The caller reports which answer it expected.
    return undefined
  }
}
