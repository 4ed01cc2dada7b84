import assert from 'node:assert/strict'
import { test } from 'node:test'
import { assertRoute, isInDomain } from '../../../../src/drivers/sqlserver/routing.ts'
import { PoolsmithError } from '../../../../src/errors.ts'

test('a name lies in the domain of a host when it ends behind the first label of the host’s name', () => {
  for (const [server, host, expected] of [
    ['db2.corp.example.com', 'db1.corp.example.com', true],
    ['DB2.Corp.Example.COM.', 'db1.corp.example.com', true],
    ['a.b.corp.example.com', 'db1.corp.example.com', true],
    ['corp.example.com', 'db1.corp.example.com', true],
    ['db2.example.com', 'db1.corp.example.com', false],
    ['db2.corp.example.com.evil.test', 'db1.corp.example.com', false],
    ['evilcorp.example.com', 'db1.corp.example.com', false],
    ['abc.tr7.westeurope1-a.worker.database.windows.net', 'sales.database.windows.net', true],
    // The domain of a name of two labels is that name: `com` would be everybody's.
    ['other.com', 'example.com', false],
    ['db.example.com', 'example.com', true],
    ['sql2', 'listener', true],
    ['sql2.example.com', 'listener', false],
    ['listener', 'db1.corp.example.com', false],
    ['10.0.0.7', '10.0.0.7', true],
    ['10.0.0.8', '10.0.0.7', false],
    ['10.0.0.8', 'listener', false],
    ['10.0.0.8', 'db.10.0.0.8', false],
    ['::1', '::1', true],
  ] as const) {
    assert.equal(isInDomain(server, host), expected, `${server} from ${host}`)
  }
})

test('a route is refused by the option, or when it names no host and port', () => {
  const host = 'db1.corp.example.com'
  assertRoute('evil.test', 1433, host, 'any')
  assertRoute('db2.corp.example.com', 1433, host, 'domain')
  for (const [server, port, allowed] of [
    ['evil.test', 1433, 'domain'],
    ['db2.corp.example.com', 1433, 'none'],
    [host, 1433, 'none'],
    ['', 1433, 'any'],
    [host, 0, 'any'],
    ['a b', 1433, 'any'],
    ['http://evil.test/', 1433, 'any'],
    ['sa@evil.test', 1433, 'any'],
    ['evil\u001b[2J.test', 1433, 'any'],
    ['evil\u202e.test', 1433, 'any'],
    ['x'.repeat(5000), 1433, 'any'],
  ] as const) {
    assert.throws(
      () => assertRoute(server, port, host, allowed),
      (error) => {
        assert.ok(error instanceof PoolsmithError)
        assert.deepEqual([error.code, error.phase, error.transient], ['ROUTING_REFUSED', 'login', false])
        for (const hidden of ['\u001b', '\u202e']) assert.ok(!error.message.includes(hidden))
        assert.ok(error.message.length < 500)
        return true
      },
    )
  }
})
