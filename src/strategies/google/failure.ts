/** The meaning of Google's answers: https://cloud.google.com/apis/design/errors */

import { type ErrorCode, PoolsmithError } from '../../errors.ts'
import { printable } from '../../printable.ts'
import { retryAfterMillis } from '../../retry-after.ts'
import { redact, type Secret } from '../../secret.ts'
import { type StoreAnswer, unusable } from '../../vault/https.ts'
import { isRecord, objectOf } from '../../vault/json.ts'

interface Refusal {
  readonly subject: string
  readonly url: URL
  /** Completes "could not". */
  readonly step: string
  readonly secrets: readonly Secret[]
}

interface Meaning {
  readonly code: ErrorCode
  readonly transient?: true
  readonly hint: string
}

/** The error of an answer other than success. */
export function googleFailure(answer: StoreAnswer, { subject, url, step, secrets }: Refusal): PoolsmithError {
  const { status, headers } = answer
  const body = objectOf(answer.text)?.error
  const error = isRecord(body) ? body : undefined
  // A fault of a load balancer may be told in HTML; its status says more.
  if (error === undefined && (status < 300 || (status >= 400 && status < 500 && status !== 429))) {
    return unusable(subject, url, `is no answer of Google (HTTP ${status})`)
  }
  const name = String(error?.status ?? '')
  const words =
    typeof error?.message === 'string' ? redact(error.message, secrets) : 'an answer without words of Google'
  const { code, transient, hint } = meaningOf(status, name, words)
  const retry = retryAfterMillis(headers['retry-after'])
  return new PoolsmithError(
    `${subject} could not ${step} (HTTP ${status}): ${printable(words, 300).replace(/\.$/, '')}.`,
    {
      code,
      phase: 'credential',
      transient,
      hint,
      details: { status, host: url.host, ...(retry === undefined ? {} : { retryAfterMillis: retry }) },
    },
  )
}

function meaningOf(status: number, name: string, words: string): Meaning {
  if (status >= 300 && status < 400) {
    return { code: 'STORE_REDIRECTED', hint: 'Redirections are never followed: see what answers at this address.' }
  }
  if (status === 400 && name === 'FAILED_PRECONDITION') {
    if (/kms|crypto ?key/i.test(words)) {
      const hint = 'Check that the KMS key of the secret is enabled, and that Secret Manager may use it.'
      return { code: 'STORE_KEY_UNUSABLE', hint }
    }
    return { code: 'SECRET_DELETED', hint: 'Enable the version, or add another one.' }
  }
  if (status === 401) {
    return { code: 'STORE_REFUSED', hint: 'The token has ended or was revoked: check the identity.' }
  }
  if (status === 403 && /has not been used|is disabled/i.test(words)) {
    return { code: 'STORE_REFUSED', hint: 'Enable the Secret Manager API in the project.' }
  }
  if (status === 403) {
    return { code: 'STORE_REFUSED', hint: 'Give the identity the role Secret Manager Secret Accessor on the secret.' }
  }
  if (status === 404) {
    return { code: 'SECRET_MISSING', hint: 'Check the project, the name, the version and the location of the secret.' }
  }
  if (status === 429) {
    const hint = 'Google asks for fewer requests; it is asked again more slowly. Raise secrets_ttl, or the quota.'
    return { code: 'STORE_FAILED', transient: true, hint }
  }
  if (status === 408 || status >= 500) {
    return { code: 'STORE_FAILED', transient: true, hint: 'The fault is on the side of Google; it is asked again.' }
  }
  return { code: 'STORE_FAILED', hint: 'See the request in the audit log of the project.' }
}
