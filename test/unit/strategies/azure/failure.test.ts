import assert from 'node:assert/strict'
import test from 'node:test'
import { inspect } from 'node:util'
import { Secret } from '../../../../src/secret.ts'
import { azureFailure } from '../../../../src/strategies/azure/failure.ts'

const named = (name: string, message: string, more: object = {}): Error =>
  Object.assign(new Error(message), { name }, more)

for (const [number, hint] of [
  ['7000215', /client_secret is wrong/],
  ['700016', /client_id is not known/],
  ['90002', /tenant_id is not known/],
  ['999999', /AADSTS999999 at https/],
] as const) {
  test(`AADSTS${number} is a refusal with its own advice`, () => {
    const message = `invalid_client: Error(s): ${number} - Timestamp: 2026 - Description: AADSTS${number}: Told by Entra. Trace ID: 1 Correlation ID: 2`
    const failure = azureFailure(named('AuthenticationRequiredError', message), { status: 401 }, [])
    assert.deepEqual([failure.code, failure.transient], ['CREDENTIAL_REFUSED', false])
    assert.equal(failure.message, `The Microsoft Entra token could not be fetched: AADSTS${number}: Told by Entra.`)
    assert.equal(failure.details.aadsts, Number(number))
    assert.match(failure.hint ?? '', hint)
  })
}

test('a status that the SDK has lost is taken from its pipeline', () => {
  const lost = named('AuthenticationRequiredError', 'unknown: Error(s): Not Available')
  const failure = azureFailure(lost, { status: 503, retryAfter: '3' }, [])
  assert.equal(failure.transient, true)
  assert.deepEqual(failure.details, { status: 503, retryAfterMillis: 3000 })
  assert.match(failure.message, /the token endpoint answered HTTP 503$/)
})

test('a network error that the SDK has wrapped is taken from its pipeline', () => {
  const wrapped = named('CredentialUnavailableError', 'endpoints_resolution_error')
  const error = named('RestError', 'getaddrinfo ENOTFOUND login.example', { code: 'ENOTFOUND' })
  const failure = azureFailure(wrapped, { error }, [])
  assert.deepEqual([failure.code, failure.transient], ['CREDENTIAL_FAILED', true])
  assert.deepEqual(failure.details, { network: 'ENOTFOUND' })
})

test('an untrusted certificate of the authority is not tried again', () => {
  const error = named('RestError', 'self-signed certificate', { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' })
  const failure = azureFailure(error, { error }, [])
  assert.deepEqual([failure.code, failure.transient], ['CREDENTIAL_FAILED', false])
})

test('without an identity, the error has the message of each credential of the chain and a hint', () => {
  const chain = named('AggregateAuthenticationError', 'ChainedTokenCredential authentication failed.\nmore', {
    errors: [named('CredentialUnavailableError', 'EnvironmentCredential is unavailable.\nlong advice'), new Error('b')],
  })
  const failure = azureFailure(chain, {}, [])
  assert.deepEqual([failure.code, failure.transient], ['CREDENTIAL_MISSING', false])
  assert.deepEqual(failure.details.tried, ['EnvironmentCredential is unavailable.', 'b'])
  assert.match(failure.hint ?? '', /az login/)
})

test('a refusal of an endpoint of this machine has a hint, alone or at the end of the chain', () => {
  const chain = named('AggregateAuthenticationError', 'ChainedTokenCredential authentication failed.', { errors: [] })
  const alone = named('AuthenticationError', 'client_error', { statusCode: 400 })
  for (const [error, hint] of [
    [chain, /No identity was found here/],
    [alone, /assigned to this machine/],
  ] as const) {
    const failure = azureFailure(error, { status: 400 }, [])
    assert.deepEqual([failure.code, failure.transient], ['CREDENTIAL_REFUSED', false])
    assert.match(failure.hint ?? '', hint)
  }
})

test('nothing of the request is kept, and the secret is removed', () => {
  const error = named('AuthenticationError', 'bad s3cret', {
    request: { body: 'client_secret=s3cret' },
    statusCode: 400,
  })
  const failure = azureFailure(error, {}, [new Secret('s3cret')])
  assert.ok(!inspect(failure, { depth: 12, showHidden: true }).includes('s3cret'))
  assert.equal(failure.code, 'CREDENTIAL_REFUSED')
})
