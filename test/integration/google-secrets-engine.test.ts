/** A pool whose password is in Google Secret Manager, over a real PostgreSQL and through a proxy. */

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { temporaryFolder } from '../support/folder.ts'
import { startGoogleDouble } from '../support/google/double.ts'
import { startPostgres } from '../support/postgres.ts'
import { startProxyDouble } from '../support/proxy-double.ts'
import { load } from '../support/rotation/load.ts'

const ACCOUNT = 'etl@sales-prod.iam.gserviceaccount.com'
const SECRET = 'projects/sales-prod/secrets/db-password'

test('a rotation in Secret Manager costs no failed statement, and Google is asked through the proxy', {
  timeout: 120_000,
}, async () => {
  await using folder = await temporaryFolder()
  await using google = await startGoogleDouble()
  const file = join(folder.path, 'key.json')
  await writeFile(file, google.keyFile(ACCOUNT), { mode: 0o600 })
  google.readers.add(ACCOUNT)
  const place = `127.0.0.1:${google.port}`
  const names = ['secretmanager.googleapis.com', 'oauth2.googleapis.com']
  await using proxy = await startProxyDouble({ hosts: Object.fromEntries(names.map((name) => [name, place])) })
  await using server = await startPostgres()
  await server.sql("create role etl login password 'password-0'")
  google.secrets.put(SECRET, 'password-0')
  const extra = {
    password_from: 'gcp-sm:sales-prod/db-password',
    google_credentials_file: file,
    secrets_ttl: 1,
    proxy: `http://127.0.0.1:${proxy.port}`,
  }
  const target = { type: 'postgres', host: server.host, port: server.port, login: 'etl', database: 'postgres' } as const
  await using stack = new AsyncDisposableStack()
  const callers = await load({ ...target, extra }, { pool_size: 4 })
  stack.defer(callers.stop)
  for (let round = 1; round <= 2; round++) {
    await callers.reopened(4)
    google.asked.length = 0
    const version = google.secrets.put(SECRET, `password-${round}`)
    // Sessions are opened by the version before, while the server does not know the new one.
    while (!google.asked.some(({ what }) => what.endsWith(`/versions/${version - 1}:access`))) await sleep(10)
    await callers.reopened(4)
    await server.sql(`alter role etl password 'password-${round}'`)
  }
  await callers.reopened(4)
  assert.ok((await callers.end()) > 0)
  for (const name of names) assert.ok(proxy.requests.some((request) => request.target === `${name}:443`))
})
