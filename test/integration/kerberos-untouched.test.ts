/** A program that does not ask for Kerberos pays nothing for it, and an old ticket in its cache changes nothing. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createEngine } from '../../src/index.ts'
import { startPostgres } from '../support/postgres.ts'

test('a connection by password loads neither koffi nor the library of MIT', async () => {
  await using server = await startPostgres()
  const extra = { sslmode: 'prefer' }
  const { host, port, superuser: login, superuserPassword: password } = server
  await using db = await createEngine({ conn_type: 'postgres', host, port, login, password, schema: 'postgres', extra })
  await db.raw('select 1')
  const report = process.report.getReport() as unknown as { readonly sharedObjects: readonly string[] }
  assert.deepEqual(
    report.sharedObjects.filter((file) => /koffi|gssapi|krb5/.test(file)),
    [],
  )
})
