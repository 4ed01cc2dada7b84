import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { describeConnection } from '../../../src/connections/describe.ts'
import { type ConnectionInput, parseConnection } from '../../../src/connections/parse.ts'

describe('describeConnection', () => {
  const described: readonly [ConnectionInput, string][] = [
    [
      'postgres://etl:s3cret@DB/sales?sslmode=require&sslpassword=x',
      'postgres://etl:[secret]@db/sales?sslmode=require&sslpassword=[secret]',
    ],
    ['postgres://etl@db', 'postgres://etl@db'],
    [{ type: 'mssql', host: '::1', port: 1433 }, 'mssql://[::1]:1433'],
    [
      { type: 'postgres', extra: { pool_size: 5, sslrootcert: '/etc/ca.pem', azure: { a: [1], client_secret: 'x' } } },
      'postgres:///?pool_size=5&sslrootcert=/etc/ca.pem&azure={"a":[1],"client_secret":"[secret]"}',
    ],
    [
      { type: 'postgres', extra: { proxy: 'http://u:p@h', 'a&b': 'c=d\ne' } },
      'postgres:///?proxy=[secret]&a%26b=c%3Dd%0Ae',
    ],
  ]
  for (const [input, expected] of described) {
    it(expected, () => assert.equal(describeConnection(parseConnection(input)), expected))
  }
})
