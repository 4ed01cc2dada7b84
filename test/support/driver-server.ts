/** A PostgreSQL with TLS and roles of every kind of login, for the tests of the driver. */

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { temporaryFolder } from './folder.ts'
import { createPki } from './pki.ts'
import { startPostgres } from './postgres.ts'
import { driverFor, passwordCredential, type TestDriver } from './postgres-driver.ts'

export const PASSWORD = 'a p4ssword'

const resources = new AsyncDisposableStack()
after(() => resources.disposeAsync())
export const folder = resources.use(await temporaryFolder())
export const pki = await createPki()
export const rootFile = join(folder.path, 'root.crt')
await writeFile(rootFile, pki.ca)
const certificate = await pki.issue({ commonName: 'localhost', dns: ['localhost'] })
export const server = resources.use(
  await startPostgres({
    tls: { ...certificate, ca: pki.ca },
    hba: [
      'hostssl all by_cert 127.0.0.1/32 cert',
      'host all by_md5 127.0.0.1/32 md5',
      'host all by_password 127.0.0.1/32 password',
      'host all by_trust 127.0.0.1/32 trust',
      'host all all 127.0.0.1/32 scram-sha-256',
    ],
  }),
)
for (const role of ['by_cert', 'by_password', 'by_trust', 'alice']) {
  await server.sql(`create role ${role} login password '${PASSWORD}'`)
}
await server.sql(`set password_encryption = 'md5'; create role by_md5 login password '${PASSWORD}'`)

export function driver(login = 'alice', extra: Record<string, unknown> = {}): TestDriver {
  return driverFor(
    { host: 'localhost', port: server.port, login, database: 'postgres' },
    { hostaddr: '127.0.0.1', ...extra },
  )
}

export const credential = passwordCredential(PASSWORD)

export async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (let waited = 0; waited < 5000; waited += 20) {
    if (await condition()) return
    await sleep(20)
  }
  assert.fail(`not within five seconds: ${what}`)
}
