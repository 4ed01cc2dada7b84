/** The example of tables to bronze, run as its first lines say, against a real realm. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { type KerberosPostgres, startKerberosPostgres } from '../support/kerberos-postgres.ts'

const ROOT = join(import.meta.dirname, '..', '..')
let realm: KerberosPostgres
let environment: Record<string, string>

before(async () => {
  realm = await startKerberosPostgres({ hba: ['hostgssenc all all 127.0.0.1/32 gss include_realm=0'] })
  await realm.server.sql(`
    create table flights as select i as number, 'AA' as carrier from generate_series(1, 500) i;
    create table airports as select i as id, 'airport ' || i as name from generate_series(1, 40) i;
    grant select on all tables in schema public to alice`)
  const cache = await realm.ticket('alice', 'examples')
  environment = {
    ...realm.kdc.environment,
    KRB5CCNAME: cache,
    DB_HOST: 'localhost',
    DB_PORT: String(realm.server.port),
    DB_NAME: 'postgres',
  }
})
after(() => realm[Symbol.asyncDispose]())

async function runExample(name: string, more: Record<string, string> = {}): Promise<string> {
  const args = ['--import', join(ROOT, 'test', 'support', 'self-import.ts'), join(ROOT, 'examples', name)]
  const env = { PATH: process.env.PATH, ...environment, ...more }
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: realm.kdc.folder, env, timeout: 60_000 })
  return stdout
}

test('kerberos-bronze reads every table with nothing but a ticket', async () => {
  const target = realm.kdc.path('bronze')
  const output = await runExample('kerberos-bronze/bronze.ts', { TARGET: target })
  assert.match(output, /alice@TEST\.REALM at postgres\/localhost@TEST\.REALM, as alice/)
  assert.match(output, /540 rows of 2 tables/)
  const files = await readdir(target, { recursive: true })
  for (const table of ['flights', 'airports']) {
    assert.ok(
      files.some((file) => file.includes(table) && file.endsWith('.parquet')),
      `${table} in ${files}`,
    )
  }
  await assert.rejects(runExample('kerberos-bronze/bronze.ts', { DB_HOST: '' }), { code: 2 })
})
