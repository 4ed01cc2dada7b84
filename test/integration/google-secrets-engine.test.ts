/** A pool whose password is in Google Secret Manager, over a real PostgreSQL and through a proxy. */

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createEngine } from '../../src/index.ts'
import { temporaryFolder } from '../support/folder.ts'
import { startGoogleDouble } from '../support/google/double.ts'
import { startPostgres } from '../support/postgres.ts'
import { startProxyDouble } from '../support/proxy-double.ts'

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
  await using db = await createEngine(
    { ...target, extra },
    { pool_size: 4, pool_recycle: 0.1, stores: { environment: {} } },
  )
  let opened = 0
  db.pool.on('connection:opened', () => opened++)
  const more = async (): Promise<void> => {
    const before = opened
    while (opened < before + 4) await sleep(10)
  }
  let isOver = false
  let statements = 0
  const worker = async (): Promise<void> => {
    while (!isOver) {
      await db.raw('select 1')
      statements++
    }
  }
  const rotate = async (): Promise<void> => {
    for (let round = 1; round <= 2; round++) {
      await more()
      google.asked.length = 0
      const version = google.secrets.put(SECRET, `password-${round}`)
      // Sessions are opened by the version before, while the server does not know the new one.
      while (!google.asked.some(({ what }) => what.endsWith(`/versions/${version - 1}:access`))) await sleep(10)
      await more()
      await server.sql(`alter role etl password 'password-${round}'`)
    }
    await more()
  }
  const workers = Array.from({ length: 8 }, worker)
  await Promise.all([rotate().finally(() => (isOver = true)), ...workers])
  assert.ok(statements > 0)
  for (const name of names) assert.ok(proxy.requests.some((request) => request.target === `${name}:443`))
})
