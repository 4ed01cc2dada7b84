import { isError } from '../../any-error.ts'
import {
  type CredentialFailureOptions,
  credentialFailure,
  faultOf,
  isTransient,
  proxyFailure,
} from '../../credentials/failure.ts'
import type { PoolsmithError } from '../../errors.ts'
import type { Secret } from '../../secret.ts'
import type { MetadataTrouble } from './metadata-trouble.ts'

const SUBJECT = 'The AWS token could not be made'

/** STS says these with HTTP 400. */
const THROTTLED = new Set(['Throttling', 'ThrottlingException', 'RequestLimitExceeded', 'TooManyRequestsException'])

const REFUSED: Readonly<Record<string, string>> = {
  ExpiredToken: 'The session keys have expired: get new ones, and restart or rewrite the profile.',
  ExpiredTokenException: 'The session keys or the web identity token have expired: get new ones.',
  InvalidClientTokenId: 'AWS does not know aws_access_key_id: check it, and that the key is active.',
  SignatureDoesNotMatch: 'aws_secret_access_key does not belong to aws_access_key_id.',
  AccessDenied: 'The identity may not do this: check its sts:AssumeRole permission and the trust policy of role_arn.',
  AccessDeniedException: 'The identity may not do this: check its permissions and the trust policy of role_arn.',
  InvalidIdentityToken: 'AWS does not accept the web identity token: check the identity provider in IAM.',
  UnauthorizedException: 'The SSO session has expired: run `aws sso login`.',
}

/**
 * An error of the AWS SDK, as ours.
 *
 * @param profile the profile that was named, and is used alone
 * @param trouble of the metadata service, which the SDK's own error does not tell
 * @param what begins the message
 */
export function awsFailure(
  error: unknown,
  profile: string | undefined,
  secrets: readonly (Secret | undefined)[],
  trouble?: MetadataTrouble,
  what = SUBJECT,
): PoolsmithError {
  const subject = profile === undefined ? what : `${what} with the profile ${profile}`
  const onTheWay = proxyFailure(subject, error)
  if (onTheWay !== undefined) return onTheWay
  const details = { profile }
  const dress = (options: CredentialFailureOptions): PoolsmithError =>
    credentialFailure(subject, error, { secrets, details, ...options })
  if (trouble !== undefined) {
    const { error: shown, hint } = trouble
    return credentialFailure(subject, shown, { code: 'CREDENTIAL_FAILED', transient: true, hint, secrets, details })
  }
  const name = isError(error) ? error.name : ''
  const message = isError(error) ? error.message : ''
  const transient = isTransient(faultOf(error)) || THROTTLED.has(name) || name === 'TimeoutError'
  if (transient) return dress({ code: 'CREDENTIAL_FAILED', transient })
  const refused = REFUSED[name]
  if (refused !== undefined) return dress({ code: 'CREDENTIAL_REFUSED', transient, hint: refused })
  if (/\bsso\b/i.test(message) && /expired|invalid|login/i.test(message)) {
    const login = profile === undefined ? 'aws sso login' : `aws sso login --profile ${profile}`
    return dress({ code: 'CREDENTIAL_REFUSED', transient, hint: `Run \`${login}\`.` })
  }
  if (name === 'CredentialsProviderError' || name === 'ProviderError') {
    return dress({ code: 'CREDENTIAL_MISSING', transient, hint: missingHint(profile) })
  }
  return dress({ transient })
}

function missingHint(profile: string | undefined): string {
  return profile === undefined
    ? 'Give aws_access_key_id and aws_secret_access_key, set them in the environment, name an aws_profile, or run where a role is attached.'
    : `Check that the profile ${profile} is in ~/.aws/config or ~/.aws/credentials and leads to keys; no other identity is used in its place.`
}
