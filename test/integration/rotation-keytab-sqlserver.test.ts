/** A keytab whose key is changed while a pool logs in to SQL Server (the double) with it. */

import { test } from 'node:test'
import { startKadmind } from '../support/kadmind.ts'
import { killKeytabAtEachStep } from '../support/rotation/killed-keytab.ts'
import { caFile, kdc, start } from '../support/tds/kerberos-server.ts'

test('a rotation that is killed at any step is finished by the same call, and no statement fails', {
  timeout: 300_000,
}, async () => {
  await using _kadmind = await startKadmind(kdc)
  await using server = await start()
  await kdc.addPrincipal('etl', { maxLife: '20 seconds' })
  const keytab = await kdc.keytab('etl')
  const extra = { auth_method: 'kerberos', principal: 'etl', keytab, min_ticket_lifetime: 5, ca_file: caFile } as const
  const record = { type: 'mssql', host: 'localhost', port: server.port, database: 'master', extra } as const
  await killKeytabAtEachStep(kdc, record, { principal: 'etl', keytab })
})
