import assert from 'node:assert/strict'
import { test } from 'node:test'
import { certificateName } from '../../../../src/drivers/sqlserver/session.ts'

test('a certificate must hold the name that was given, or the server’s; a wildcard goes with us to servers below it', () => {
  const azure = '*.database.windows.net'
  const worker = 'abc123.tr7.westeurope1-a.worker.database.windows.net'
  for (const [given, server, sentOn, name] of [
    [undefined, 'db.example.com', false, 'db.example.com'],
    [undefined, worker, true, worker],
    ['db.example.com', 'alias', false, 'db.example.com'],
    ['db.example.com', worker, true, 'db.example.com'],
    [azure, 'sales.database.windows.net', false, azure],
    [azure, worker, true, '*.tr7.westeurope1-a.worker.database.windows.net'],
    [azure, 'other.database.windows.net', true, azure],
    [azure, 'database.windows.net.example.com', true, azure],
    [azure, 'evildatabase.windows.net', true, azure],
  ] as const) {
    assert.equal(certificateName(given, server, sentOn), name, `${given} ${server}`)
  }
})
