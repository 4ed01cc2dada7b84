import assert from 'node:assert/strict'
import test from 'node:test'
import { tokenTimes } from '../../../../src/strategies/aws/token.ts'

test('a token holds its times of issue and expiry', () => {
  const token = 'db.example:5432/?Action=connect&X-Amz-Date=20261231T235930Z&X-Amz-Expires=900'
  const issuedAt = Date.UTC(2026, 11, 31, 23, 59, 30)
  assert.deepEqual(tokenTimes(token), { issuedAt, expiresAt: issuedAt + 900_000 })
})

for (const token of [
  'db:5432/',
  'db:5432/?X-Amz-Date=yesterday&X-Amz-Expires=900',
  'db:5432/?X-Amz-Date=20261231T235930Z',
]) {
  test(`a token without its times is an error: ${token}`, () => {
    assert.throws(() => tokenTimes(token), /does not say its time/)
  })
}
