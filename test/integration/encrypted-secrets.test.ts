/** Options in an encrypted file of secrets, over a real PostgreSQL. */

import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { createEngine, PoolsmithError, Secret } from '../../src/index.ts'
import { EncryptedFile } from '../../src/stores/encrypted/file.ts'
import { encryptedReader } from '../../src/stores/encrypted/reader.ts'
import { temporaryFolder } from '../support/folder.ts'
import { findSecrets } from '../support/object-graph.ts'
import { startPostgres } from '../support/postgres.ts'

const signal = AbortSignal.timeout(120_000)
const KEY = Buffer.alloc(32, 7).toString('base64')

test('a pool follows a change in the encrypted file, and shows neither password nor key', async () => {
  await using server = await startPostgres()
  await using folder = await temporaryFolder()
  const [path, keyFile] = [join(folder.path, 'secrets'), join(folder.path, 'key')]
  await writeFile(keyFile, KEY, { mode: 0o600 })
  await server.sql("create role etl login password 'the-first-value'")
  const store = encryptedReader(new EncryptedFile({ path, keyFile, environment: {} }))
  const fieldsOf = (password: string) =>
    new Map(Object.entries({ user: 'etl', password }).map(([name, value]) => [name, new Secret(value)] as const))
  const first = await store.write?.('prod/sales', fieldsOf('the-first-value'), { replaces: undefined, signal })
  const told: unknown[] = []
  const tell = (payload: unknown): void => void told.push(payload)
  await using db = await createEngine(
    {
      type: 'postgres',
      host: '127.0.0.1',
      port: server.port,
      database: 'postgres',
      extra: {
        login_from: 'encrypted:prod/sales#user',
        password_from: 'encrypted:prod/sales#password',
        secrets_key_file: keyFile,
      },
    },
    {
      stores: { environment: { POOLSMITH_SECRETS_FILE: path } },
      on: { 'credential:refreshed': tell, 'credential:failed': tell, 'connection:failed': tell },
    },
  )
  await db.raw('select 1')
  await store.write?.('prod/sales', fieldsOf('the-second-value'), { replaces: first, signal })
  await server.sql("alter role etl password 'the-second-value'")
  db.pool.invalidate()
  await db.raw('select 1')
  // A file that cannot be read leaves the error without its content.
  const whole = await readFile(path)
  await writeFile(path, whole.subarray(0, whole.length / 2))
  await server.sql("alter role etl password 'the-third-value'")
  db.pool.invalidate()
  const error: unknown = await db.raw('select 1').catch((reason: unknown) => reason)
  assert.ok(error instanceof PoolsmithError)
  const secrets = ['the-first-value', 'the-second-value', KEY, Buffer.alloc(32, 7)]
  assert.deepEqual(findSecrets([db.connection, told, error, inspect(db, { depth: 8, showHidden: true })], secrets), [])
})

test('a record without the file is reported with the option that is missing', async () => {
  const extra = { password_from: 'encrypted:sales#password' }
  const record = { type: 'postgres', host: 'db', extra } as const
  await assert.rejects(createEngine(record, { stores: { environment: {} } }), {
    code: 'CONFIG_INVALID',
    message: /extra.secrets_file: password_from needs it; set it, or POOLSMITH_SECRETS_FILE/,
  })
})

test('a command in a record is not run: only the environment names one', async () => {
  await using folder = await temporaryFolder()
  const ran = join(folder.path, 'ran')
  const command = `touch '${ran}'`
  const names = ['secrets_key_command', 'POOLSMITH_SECRETS_KEY_COMMAND']
  const extra = {
    password_from: 'encrypted:sales#password',
    secrets_file: join(folder.path, 'secrets'),
    ...Object.fromEntries(names.map((name) => [name, command])),
  }
  await writeFile(extra.secrets_file, 'poolsmith-secrets 1\n')
  await using db = await createEngine(
    { type: 'postgres', host: '127.0.0.1', login: 'etl', extra },
    { stores: { environment: {} } },
  )
  await assert.rejects(async () => await db.raw('select 1'), { code: 'ENCRYPTED_KEY_MISSING' })
  await assert.rejects(readFile(ran), { code: 'ENOENT' })
})
