/** The live suite itself, against the double: its tests for a real server must pass here too. */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { temporaryFolder } from '../support/folder.ts'
import { gssAcceptor } from '../support/gss-acceptor.ts'
import { startKdc } from '../support/kdc.ts'
import { createPki } from '../support/pki.ts'
import { startPostgres } from '../support/postgres.ts'
import { createIssuer } from '../support/tds/issuer.ts'
import { startTdsServer } from '../support/tds/server.ts'

const SUITE = fileURLToPath(new URL('../live/sqlserver.test.ts', import.meta.url))

async function runSuite(
  settings: Readonly<Record<string, string>>,
  more: Readonly<Record<string, string>> = {},
): Promise<{ code: unknown; output: string }> {
  const environment = Object.entries(settings).map(([name, value]) => [`POOLSMITH_TEST_MSSQL_${name}`, value])
  const child = spawn(process.execPath, ['--test', '--test-reporter=tap', SUITE], {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...more, ...Object.fromEntries(environment) },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      output += chunk
    })
  }
  const [code] = await once(child, 'close')
  return { code, output }
}

test('the live suite passes on the double, and skips tests whose variables are not set', async () => {
  await using folder = await temporaryFolder()
  await using postgres = await startPostgres()
  const pki = await createPki()
  const caFile = join(folder.path, 'ca.pem')
  await writeFile(caFile, pki.ca)
  const issuer = await createIssuer()
  await using server = await startTdsServer({
    postgres,
    logins: { sa: 'pw' },
    tokens: issuer.rules,
    strictToo: true,
    tls: await pki.issue({ commonName: 'localhost', dns: ['localhost'] }),
  })
  const { code, output } = await runSuite({
    HOST: 'localhost',
    PORT: String(server.port),
    USER: 'sa',
    PASSWORD: 'pw',
    CA_FILE: caFile,
    PLAIN: '1',
    STRICT: '1',
    TOKEN: await issuer.issue(),
  })
  assert.equal(code, 0, output)
  assert.match(output, /# fail 0/)
  assert.match(output, /# skipped 1\n/)
  assert.match(output, /needs POOLSMITH_TEST_MSSQL_CCACHE/)
  assert.deepEqual(server.complaints, [])
})

test("the live suite's Kerberos part passes on the double, by a ticket of a real KDC", async () => {
  await using folder = await temporaryFolder()
  await using postgres = await startPostgres()
  await using kdc = await startKdc()
  // The acceptor runs in this process.
  Object.assign(process.env, kdc.environment)
  const pki = await createPki()
  const caFile = join(folder.path, 'ca.pem')
  await writeFile(caFile, pki.ca)
  let keytab = ''
  await using server = await startTdsServer({
    postgres,
    sspi: { acceptor: () => gssAcceptor(keytab) },
    tls: await pki.issue({ commonName: 'localhost', dns: ['localhost'] }),
  })
  const service = `MSSQLSvc/localhost:${server.port}`
  const CCACHE = `FILE:${kdc.path('alice')}`
  await kdc.addPrincipal('alice', { password: 'pw' })
  await kdc.addPrincipal(service)
  keytab = await kdc.keytab(service)
  await kdc.kinit('alice', CCACHE, { password: 'pw' })
  const settings = { HOST: 'localhost', PORT: String(server.port), CA_FILE: caFile, CCACHE }
  const { code, output } = await runSuite(settings, kdc.environment)
  assert.equal(code, 0, output)
  assert.match(output, /# pass 1\n# fail 0/)
  assert.deepEqual(
    server.journal.logins.map(({ authentication }) => authentication),
    ['sspi', 'sspi'],
  )
})
