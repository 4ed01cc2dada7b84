import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PoolsmithError } from '../../src/errors.ts'

test('with() changes what is named, adds to the details, and keeps the rest', () => {
  const cause = new Error('first')
  const error = new PoolsmithError('The server is full.', {
    code: 'SERVER_FULL',
    phase: 'login',
    hint: 'Wait.',
    transient: true,
    cause,
    details: { host: 'db' },
  })
  const other = error.with({ message: `No connection: ${error.message}`, details: { limitMillis: 5 } })
  assert.deepEqual(other.toJSON(), {
    name: 'PoolsmithError',
    code: 'SERVER_FULL',
    phase: 'login',
    message: 'No connection: The server is full.',
    hint: 'Wait.',
    transient: true,
    details: { host: 'db', limitMillis: 5 },
  })
  assert.equal(other.cause, cause)
  assert.equal(error.message, 'The server is full.')
  assert.equal(error.with({ hint: 'Ask.', phase: 'pool' }).hint, 'Ask.')
})
