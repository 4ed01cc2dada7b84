import assert from 'node:assert/strict'
import { test } from 'node:test'
import { postgresStatementError } from '../../../../src/drivers/postgres/statement-error.ts'
import { PoolsmithError } from '../../../../src/errors.ts'

const where = { host: 'db', port: 5432, database: 'app' }

for (const words of [
  'Client has encountered a connection error and is not queryable',
  'Client was closed and is not queryable',
]) {
  test(`pg's "${words}" reaches no user: the error has the reason`, () => {
    const endedBy = new Error('read ECONNRESET')
    for (const broken of [true, false]) {
      const error = postgresStatementError(new Error(words), { where, broken, endedBy })
      assert.ok(error instanceof PoolsmithError)
      assert.equal(error.code, 'CONNECTION_LOST')
      assert.match(error.message, /db:5432 \(database app\) has ended: read ECONNRESET/)
      assert.equal(error.cause, endedBy)
    }
    const { message } = postgresStatementError(new Error(words), { where, broken: true, endedBy: undefined })
    assert.doesNotMatch(message, /queryable/)
  })
}
