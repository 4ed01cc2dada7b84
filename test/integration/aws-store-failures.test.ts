/** The errors of a failing Secrets Manager or Parameter Store, on a double. */

import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { after, beforeEach, describe, test } from 'node:test'
import type { ErrorCode } from '../../src/index.ts'
import { REGION, refuse, startAwsDouble } from '../support/aws/stores-double.ts'
import { answerWithoutEnd } from '../support/endless.ts'
import { findSecrets } from '../support/object-graph.ts'
import { type OpenedStore, openStore } from '../support/open-store.ts'

const aws = await startAwsDouble()
after(() => aws[Symbol.asyncDispose]())

beforeEach(() => {
  aws.fault = undefined
})

const KEY = 'secret-of-the-test-key'

function open(reference: string, options: Readonly<Record<string, unknown>> = {}): OpenedStore {
  const keys = { aws_access_key_id: 'AKIATEST', aws_secret_access_key: KEY }
  return openStore(reference, { ...keys, region: REGION, aws_endpoint_url: aws.url, ...options })
}

type Refusal = readonly [type: string, code: ErrorCode, isTransient: boolean, hint: RegExp, message?: string]

const REFUSALS: readonly Refusal[] = [
  ['AccessDeniedException', 'STORE_REFUSED', false, /Allow (secretsmanager|ssm):Get/],
  ['AccessDeniedException', 'STORE_REFUSED', false, /kms:Decrypt/, 'Access to KMS is not allowed'],
  ['DecryptionFailure', 'STORE_KEY_UNUSABLE', false, /KMS key/],
  ['InvalidKeyId', 'STORE_KEY_UNUSABLE', false, /KMS key/],
  ['ThrottlingException', 'STORE_FAILED', true, /fewer requests/],
  ['InternalServiceError', 'STORE_FAILED', true, /side of AWS/],
  ['UnrecognizedClientException', 'STORE_REFUSED', false, /keys/],
  ['InvalidParameterException', 'STORE_FAILED', false, /CloudTrail/],
  ['SomethingNew', 'STORE_FAILED', false, /CloudTrail/],
]

for (const reference of ['aws-sm:prod/sales', 'aws-ssm:/prod/sales']) {
  describe(`a request for ${reference} that fails`, () => {
    for (const [type, code, isTransient, hint, message = `AWS says ${type}`] of REFUSALS) {
      test(`${type} (${message}) is ${code}`, async () => {
        aws.fault = (_action, response) => {
          refuse(response, type, message)
          return true
        }
        using store = open(reference)
        const error = await store.failure()
        assert.deepEqual([error.code, error.transient], [code, isTransient])
        assert.match(error.hint ?? '', hint)
        assert.match(
          error.message,
          new RegExp(`in eu-west-1 could not read the .* /?prod/sales: ${message} \\(${type}\\)`),
        )
      })
    }

    test('the wait that AWS asks for is kept', async () => {
      aws.fault = (_action, response) => {
        refuse(response, 'ThrottlingException', 'Rate exceeded', { headers: { 'retry-after': '7' } })
        return true
      }
      using store = open(reference)
      assert.equal((await store.failure()).details.retryAfterMillis, 7000)
    })

    const answers: readonly (readonly [string, ErrorCode, (response: ServerResponse) => void])[] = [
      ['HTML in place of an answer', 'STORE_ANSWER_UNUSABLE', (response) => response.end('<html>Sign in</html>')],
      ['HTML with a refusal', 'STORE_ANSWER_UNUSABLE', (response) => response.writeHead(403).end('<html>')],
      ['HTML of a load balancer that fails', 'STORE_FAILED', (response) => response.writeHead(503).end('<html>')],
      ['a redirection', 'STORE_REDIRECTED', (response) => response.writeHead(307, { location: 'http://other/' }).end()],
      ['an answer that does not end', 'STORE_ANSWER_UNUSABLE', (response) => void answerWithoutEnd(response)],
      ['an answer without a value', 'STORE_ANSWER_UNUSABLE', (response) => response.end('{}')],
      ['a connection that breaks', 'STORE_UNREACHABLE', (response) => response.destroy()],
    ]
    for (const [what, code, respond] of answers) {
      test(`${what} is ${code}`, async () => {
        aws.fault = (_action, response) => {
          respond(response)
          return true
        }
        using store = open(reference)
        assert.equal((await store.failure()).code, code)
      })
    }

    for (const [status, body] of [
      [503, '<html>'],
      [403, '{"message": null}'],
    ] as const) {
      test(`an answer without words of AWS is told by its status, and not in those of the SDK: ${status}`, async () => {
        aws.fault = (_action, response) => {
          response.writeHead(status).end(body)
          return true
        }
        using store = open(reference)
        const { message } = await store.failure()
        assert.match(message, new RegExp(`could not read .*: HTTP ${status}, without an error of AWS\\.$`))
      })
    }

    test('a store that does not answer fails by credential_timeout, and at once by the signal', async () => {
      aws.fault = () => true
      using quick = open(reference, { credential_timeout: 0.2 })
      assert.equal((await quick.failure()).code, 'STORE_TIMEOUT')
      using slow = open(reference, { credential_timeout: 600 })
      const reason = new Error('given up')
      const controller = new AbortController()
      aws.fault = () => {
        controller.abort(reason)
        return true
      }
      await assert.rejects(slow.read(controller.signal), reason)
    })
  })
}

test('no error holds a key, or a secret that AWS repeats', async () => {
  const secrets = [KEY, 'session-token-of-the-test']
  aws.fault = (_action, response) => {
    refuse(response, 'InvalidParameterException', `The parameters ${secrets.join(' ')} are wrong`)
    return true
  }
  using store = open('aws-sm:words', { aws_session_token: secrets[1] })
  assert.deepEqual(findSecrets([await store.failure()], secrets), [])
})
