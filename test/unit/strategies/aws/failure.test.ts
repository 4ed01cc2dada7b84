import assert from 'node:assert/strict'
import test from 'node:test'
import { Secret } from '../../../../src/secret.ts'
import { awsFailure } from '../../../../src/strategies/aws/failure.ts'

const named = (name: string, message: string, more: object = {}): Error =>
  Object.assign(new Error(message), { name }, more)

for (const [what, error, code, transient, hint] of [
  [
    'no keys',
    named('CredentialsProviderError', 'Could not load credentials'),
    'CREDENTIAL_MISSING',
    false,
    /profile etl/,
  ],
  [
    'an old SSO session',
    named('CredentialsProviderError', 'The SSO session has expired.'),
    'CREDENTIAL_REFUSED',
    false,
    /aws sso login --profile etl/,
  ],
  [
    'expired keys',
    named('ExpiredToken', 'x', { $metadata: { httpStatusCode: 403 } }),
    'CREDENTIAL_REFUSED',
    false,
    /expired/,
  ],
  [
    'no permission',
    named('AccessDenied', 'x', { $metadata: { httpStatusCode: 403 } }),
    'CREDENTIAL_REFUSED',
    false,
    /trust policy/,
  ],
  [
    'throttling as a 400',
    named('Throttling', 'x', { $metadata: { httpStatusCode: 400 } }),
    'CREDENTIAL_FAILED',
    true,
    undefined,
  ],
  [
    'a 503',
    named('ServiceUnavailable', 'x', { $metadata: { httpStatusCode: 503 } }),
    'CREDENTIAL_FAILED',
    true,
    /issuer's side/,
  ],
  ['no route', named('Error', 'x', { code: 'ENETUNREACH' }), 'CREDENTIAL_FAILED', true, /reached/],
  ['a request that took too long', named('TimeoutError', 'x'), 'CREDENTIAL_FAILED', true, undefined],
  ['anything else', named('TypeError', 'x'), 'CREDENTIAL_FAILED', false, undefined],
] as const) {
  test(`${what}: ${code}${transient ? ', which may pass' : ''}`, () => {
    const failure = awsFailure(error, 'etl', [])
    assert.deepEqual([failure.code, failure.phase, failure.transient], [code, 'credential', transient])
    if (hint === undefined) return
    assert.match(failure.hint ?? '', hint)
  })
}

test('keys are removed from the messages of the SDK', () => {
  const failure = awsFailure(named('Weird', 'signed with wJalr and s3ss'), undefined, [
    new Secret('wJalr'),
    new Secret('s3ss'),
  ])
  assert.match(failure.message, /signed with \[secret\] and \[secret\]/)
  assert.match(String((failure.cause as Error).stack), /\[secret\]/)
})
