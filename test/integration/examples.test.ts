/** The examples, run as their first lines say. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { temporaryFolder } from '../support/folder.ts'
import { createPki } from '../support/pki.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { verifyRdsToken } from '../support/rds-token-verifier.ts'
import { startTokenDatabase } from '../support/token-database.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const stack = new AsyncDisposableStack()
let server: PostgresServer
let folder: string
/** The variables of every example: the place of the server, and the authority to trust. */
let place: Record<string, string>

before(async () => {
  folder = stack.use(await temporaryFolder()).path
  const pki = await createPki()
  const pair = await pki.issue({ commonName: 'localhost', dns: ['localhost'], ip: ['127.0.0.1'] })
  const client = await pki.issue({ commonName: 'etl_cert', client: true })
  for (const [name, content] of Object.entries({ 'ca.crt': pki.ca, 'etl.crt': client.cert, 'etl.key': client.key })) {
    await writeFile(join(folder, name), content, { mode: 0o600 })
  }
  server = stack.use(
    await startPostgres({
      tls: { cert: pair.cert, key: pair.key, ca: pki.ca },
      hba: ['hostssl all etl_cert 127.0.0.1/32 cert', 'hostssl all all 127.0.0.1/32 scram-sha-256'],
    }),
  )
  await server.sql(`
    create role etl login password 'correct horse';
    create role etl_cert login;
    create table flights as select i as number, 'AA' as carrier from generate_series(1, 500) i;
    grant select on flights to etl`)
  place = { DB_HOST: '127.0.0.1', DB_PORT: String(server.port), DB_CA_FILE: join(folder, 'ca.crt') }
})
after(() => stack.disposeAsync())

async function runExample(name: string, environment: Record<string, string>): Promise<string> {
  const args = ['--import', join(ROOT, 'test', 'support', 'self-import.ts'), join(ROOT, 'examples', name)]
  const env = { PATH: process.env.PATH, ...place, ...environment }
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: folder, env, timeout: 60_000 })
  return stdout
}

test('password.ts logs in with a password', async () => {
  const output = await runExample('password.ts', { DB_USER: 'etl', DB_PASSWORD: 'correct horse' })
  assert.match(output, /who: 'etl'/)
})

test('ssl-cert.ts logs in with a certificate', async () => {
  const files = { DB_CERT_FILE: join(folder, 'etl.crt'), DB_KEY_FILE: join(folder, 'etl.key') }
  const output = await runExample('ssl-cert.ts', { DB_USER: 'etl_cert', ...files })
  assert.match(output, /client_dn: '\/CN=etl_cert'/)
})

test('iam.ts logs in with a token that it signs itself', async () => {
  const secret = 'a-secret-access-key'
  await using database = await startTokenDatabase('localhost', ['svc_etl'], (user, token, port) =>
    verifyRdsToken(user, token, {
      host: 'localhost',
      port,
      region: 'eu-west-1',
      keys: { AKIAEXAMPLE: { secret } },
      now: Date.now,
    }),
  )
  const output = await runExample('iam.ts', {
    DB_HOST: 'localhost',
    DB_PORT: String(database.server.port),
    DB_CA_FILE: database.extra.sslrootcert,
    AWS_REGION: 'eu-west-1',
    AWS_ACCESS_KEY_ID: 'AKIAEXAMPLE',
    AWS_SECRET_ACCESS_KEY: secret,
  })
  assert.match(output, /a token for AKIAEXAMPLE, good until /)
  assert.match(output, /who: 'svc_etl'/)
})

test('custom-strategy.ts logs in with the password that a command prints', async () => {
  const output = await runExample('custom-strategy.ts', { DB_USER: 'etl', DB_PASSWORD_COMMAND: "echo 'correct horse'" })
  assert.match(output, /who: 'etl'/)
})

test('extract.ts writes a table', async () => {
  const uri = `postgres://etl:correct%20horse@127.0.0.1:${server.port}/postgres?sslmode=verify-full&sslrootcert=${place['DB_CA_FILE']}`
  const output = await runExample('extract.ts', { DB_URI: uri, DB_TABLE: 'flights' })
  assert.match(output, /500 rows in bronze\/postgres\/public\.flights\//)
  const files = await readdir(join(folder, 'bronze'), { recursive: true })
  assert.equal(files.filter((name) => name.endsWith('.parquet')).length, 1)
})
