/** The meaning of AWS' errors: API references of Secrets Manager and Systems Manager, "Errors" of each action and "Common Errors". */

import { isError } from '../../any-error.ts'
import { type ErrorCode, PoolsmithError } from '../../errors.ts'
import { printable } from '../../printable.ts'
import { retryAfterMillis } from '../../retry-after.ts'
import { redact, type Secret } from '../../secret.ts'
import type { StoreAnswer } from '../../vault/https.ts'

export interface AwsQuestion {
  /** The name or ARN, which may say its region. */
  readonly path: string
  /** Completes "could not": `read the secret prod/sales`. */
  readonly step: string
  /** The action that a policy must allow: `secretsmanager:GetSecretValue`. */
  readonly action: string
  /** The secrets in the command, which are taken out of AWS' words. */
  readonly secrets?: readonly Secret[]
}

interface Meaning {
  readonly code: ErrorCode
  readonly transient?: true
  readonly hint: string
}

const SIGNATURE: Meaning = {
  code: 'STORE_REFUSED',
  hint: 'The keys have ended, were deactivated, or are others than the service knows: check the identity that signs.',
}
const MISSING: Meaning = {
  code: 'SECRET_MISSING',
  hint: 'Check the name, the region and the account; a secret of another account needs its whole ARN.',
}
const KEY: Meaning = {
  code: 'STORE_KEY_UNUSABLE',
  hint: 'Check that the KMS key of the secret is enabled, is not deleted, and allows kms:Decrypt to this identity.',
}
const THROTTLED: Meaning = {
  code: 'STORE_FAILED',
  transient: true,
  hint: 'AWS asks for fewer requests; it is asked again more slowly. Raise secrets_ttl, or the quota.',
}
const LATER: Meaning = {
  code: 'STORE_FAILED',
  transient: true,
  hint: 'The fault is on the side of AWS; it is asked again.',
}

const MEANINGS: Readonly<Record<string, Meaning>> = {
  ResourceNotFoundException: MISSING,
  ParameterNotFound: MISSING,
  ParameterVersionNotFound: {
    code: 'SECRET_MISSING',
    hint: 'The parameter exists, but has no such version or label.',
  },
  DecryptionFailure: KEY,
  EncryptionFailure: KEY,
  InvalidKeyId: KEY,
  ThrottlingException: THROTTLED,
  Throttling: THROTTLED,
  TooManyRequestsException: THROTTLED,
  RequestLimitExceeded: THROTTLED,
  TooManyUpdates: THROTTLED,
  LimitExceededException: THROTTLED,
  InternalServiceError: LATER,
  InternalServerError: LATER,
  ServiceUnavailable: LATER,
  ExpiredTokenException: SIGNATURE,
  ExpiredToken: SIGNATURE,
  RequestExpired: SIGNATURE,
  RequestTimeTooSkewed: SIGNATURE,
  InvalidSignatureException: SIGNATURE,
  SignatureDoesNotMatch: SIGNATURE,
  IncompleteSignature: SIGNATURE,
  IncompleteSignatureException: SIGNATURE,
  InvalidClientTokenId: SIGNATURE,
  UnrecognizedClientException: SIGNATURE,
  MissingAuthenticationToken: SIGNATURE,
  MissingAuthenticationTokenException: SIGNATURE,
  NotAuthorized: SIGNATURE,
}

/** The error of an answer that has no value. */
export function withoutValue(place: string): PoolsmithError {
  return new PoolsmithError(`${place} was answered without a value.`, {
    code: 'STORE_ANSWER_UNUSABLE',
    phase: 'credential',
    hint: 'See what answers in place of AWS.',
  })
}

/** Whether AWS does not accept the keys or the time of the signature. */
export function isSignatureFault(error: unknown): boolean {
  return isError(error) && MEANINGS[error.name] === SIGNATURE
}

/** The error of a command that AWS has refused. Nothing of the SDK's own error is kept: it holds the request. */
export function awsStoreFailure(
  error: unknown,
  subject: string,
  { step, action }: AwsQuestion,
  answer: StoreAnswer | undefined,
  secrets: readonly (Secret | undefined)[],
): PoolsmithError {
  const name = isError(error) ? error.name : 'Error'
  const words = redact(isError(error) ? error.message : String(error), secrets)
  const status = answer?.status ?? 0
  const { code, transient, hint } = meaningOf(name, words, status, action)
  const wait = retryAfterMillis(answer?.headers['retry-after'])
  const said =
    status > 0 && UNREAD.test(name)
      ? `HTTP ${status}, without an error of AWS`
      : `${printable(words, 300).replace(/\.$/, '')} (${printable(name, 60)})`
  return new PoolsmithError(`${subject} could not ${step}: ${said}.`, {
    code,
    phase: 'credential',
    transient,
    hint,
    details: { status, error: printable(name, 60), ...(wait === undefined ? {} : { retryAfterMillis: wait }) },
  })
}

/** The SDK's names for an answer that says nothing, such as the page of a proxy; its words are about itself then. */
const UNREAD = /^(SyntaxError|Unknown(Error)?)$/

function meaningOf(name: string, words: string, status: number, action: string): Meaning {
  const known = MEANINGS[name]
  if (known !== undefined) return known
  if (name === 'AccessDeniedException' || name === 'AccessDenied') {
    if (!/\bkms\b|customer master key|ciphertext/i.test(words)) {
      return { code: 'STORE_REFUSED', hint: `Allow ${action} on the secret to this identity.` }
    }
    return { code: 'STORE_REFUSED', hint: 'Allow kms:Decrypt on the KMS key of the secret to this identity.' }
  }
  if (name === 'InvalidRequestException' && /marked (for deletion|deleted)|scheduled for deletion/i.test(words)) {
    return { code: 'SECRET_DELETED', hint: 'Restore the secret (aws secretsmanager restore-secret), or name another.' }
  }
  if (status === 429) return THROTTLED
  if (status === 408 || status >= 500) return LATER
  if (status === 403 || status === 401) return SIGNATURE
  return { code: 'STORE_FAILED', hint: 'See the request in CloudTrail.' }
}
