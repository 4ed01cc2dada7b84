#!/bin/sh
# Creates a login for the domain's user, gets that user's ticket, and runs the suite.
set -eu

node --input-type=module -e "
  import { createEngine } from './src/index.ts'
  const { POOLSMITH_TEST_MSSQL_HOST: host, POOLSMITH_TEST_MSSQL_PASSWORD: password } = process.env
  await using db = await createEngine({ type: 'mssql', host, login: 'sa', password, extra: { trust_server_certificate: true } })
  await db.raw(\"if suser_id(N'POOLSMITH\\\\alice') is null create login [POOLSMITH\\\\alice] from windows\")
"
echo Poolsmith-1 | kinit -c /tmp/alice alice
exec npm test -- test/live/sqlserver.test.ts
