import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { inspect } from 'node:util'
import { credentialFailure, faultOf, isTransient } from '../../../src/credentials/failure.ts'
import { PoolsmithError } from '../../../src/errors.ts'
import { Secret } from '../../../src/secret.ts'

const network = Object.assign(new Error('x'), { code: 'ECONNRESET' })

describe('faultOf', () => {
  for (const [name, error, kind, transient] of [
    ['a network code', network, 'network', true],
    ['a network code in a cause', new Error('y', { cause: new Error('z', { cause: network }) }), 'network', true],
    ['a network code in an aggregate', new AggregateError([new Error('v6'), network]), 'network', true],
    ['HTTP 429', { statusCode: 429 }, 'throttled', true],
    ['HTTP 500', { status: 500 }, 'server', true],
    ['HTTP 408', { status: 408 }, 'server', true],
    ['HTTP 403 of an AWS SDK', { $metadata: { httpStatusCode: 403 } }, 'refused', false],
    ['HTTP 200 with a bad body', { status: 200 }, 'other', false],
    ['text', 'text', 'other', false],
    ['nothing', undefined, 'other', false],
    ['null', null, 'other', false],
  ] as const) {
    test(`${name} is ${kind}`, () => {
      assert.equal(faultOf(error).kind, kind)
      assert.equal(isTransient(faultOf(error)), transient)
    })
  }

  test('a cause that is its own cause ends', () => {
    const error = new Error('round')
    error.cause = error
    assert.equal(faultOf(error).kind, 'other')
  })
})

describe('credentialFailure', () => {
  test('leaves one of ours as it is', () => {
    const ours = new PoolsmithError('x', { code: 'ABORTED', phase: 'credential' })
    assert.equal(credentialFailure('S', ours), ours)
  })

  test('keeps name and message of a foreign error, and nothing else', () => {
    const error = Object.assign(new Error('refused for s3cret\nadvice'), {
      name: 'Odd',
      request: 's3cret',
      status: 401,
    })
    const failure = credentialFailure('No token', error, { secrets: [new Secret('s3cret'), undefined] })
    assert.equal(failure.message, 'No token: refused for [secret]')
    assert.equal(failure.code, 'CREDENTIAL_REFUSED')
    assert.deepEqual(failure.details, { status: 401 })
    assert.equal((failure.cause as Error).name, 'Odd')
    assert.ok(!inspect(failure, { depth: 9, showHidden: true }).includes('s3cret'))
  })

  test('says something also where the error says nothing', () => {
    assert.equal(credentialFailure('S', new AggregateError([network], '')).message, 'S: x')
    assert.equal(credentialFailure('S', undefined).message, 'S: undefined')
    assert.equal(credentialFailure('S', new TypeError('')).message, 'S: TypeError')
    assert.ok(credentialFailure('S', new Error('x'.repeat(9999))).message.length < 600)
  })
})
