/** The content of a file in place of its path, where the path comes from the environment or from code. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { createEngine, type EngineOptions, PoolsmithError } from '../../../src/index.ts'

const KEY = 'MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj'
const PEM = `-----BEGIN PRIVATE KEY-----\n${KEY}\n-----END PRIVATE KEY-----\n`
const TOKEN = `eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.${KEY}`
const CONTENTS = [PEM, PEM.replaceAll('\n', '\\n'), KEY, TOKEN, JSON.stringify({ private_key: PEM }), `hunter2-${KEY}`]

type Environment = Readonly<Record<string, string>>

/** The error of the first statement of a connection whose password is in a store. */
async function failureOf(reference: string, environment: Environment): Promise<unknown> {
  const record = { type: 'postgres', host: 'db.test', login: 'etl', extra: { password_from: reference } }
  try {
    await using db = await createEngine(record, { stores: { environment }, pool_timeout: 20 })
    await db.raw('select 1')
    return assert.fail('it connected')
  } catch (error) {
    return error
  }
}

function assertHidden(error: unknown, what: string): void {
  assert.ok(error instanceof PoolsmithError, `${what}: ${inspect(error)}`)
  const shown = [inspect(error, { depth: 9 }), error.stack, JSON.stringify(error), error.hint].join('\n')
  for (const part of [KEY, 'hunter2']) assert.ok(!shown.includes(part), `${what}: ${shown}`)
}

const VARIABLES: Readonly<Record<string, readonly [reference: string, others?: Environment]>> = {
  POOLSMITH_SECRETS_FILE: [
    'encrypted:prod/sales#password',
    { POOLSMITH_SECRETS_KEY: Buffer.alloc(32).toString('hex') },
  ],
  POOLSMITH_SECRETS_KEY_FILE: ['encrypted:prod/sales#password', { POOLSMITH_SECRETS_FILE: import.meta.filename }],
  POOLSMITH_SECRETS_KEY: ['encrypted:prod/sales#password', { POOLSMITH_SECRETS_FILE: import.meta.filename }],
  GOOGLE_APPLICATION_CREDENTIALS: ['gcp-sm:prod/sales'],
  VAULT_CACERT: ['vault:secret/sales#password', { VAULT_ADDR: 'https://127.0.0.1:1', VAULT_TOKEN: 'x' }],
  VAULT_ADDR: ['vault:secret/sales#password', { VAULT_TOKEN: 'x' }],
}

for (const [name, [reference, others]] of Object.entries(VARIABLES)) {
  test(`in ${name} it is not repeated`, async () => {
    for (const content of CONTENTS) assertHidden(await failureOf(reference, { ...others, [name]: content }), content)
  })
}

const PLACES: Readonly<Record<string, (content: string) => EngineOptions>> = {
  'stores.file': (file) => ({ stores: { file, environment: {} } }),
  POOLSMITH_CONNECTIONS_FILE: (file) => ({ stores: { environment: { POOLSMITH_CONNECTIONS_FILE: file } } }),
}

for (const [name, options] of Object.entries(PLACES)) {
  test(`in ${name} it is not repeated`, async () => {
    for (const content of CONTENTS) {
      const error = await createEngine('sales', options(content)).catch((reason: unknown) => reason)
      assertHidden(error, content)
    }
  })
}

for (const name of ['KRB5CCNAME', 'KRB5_CLIENT_KTNAME', 'KRB5_CONFIG']) {
  test(`in ${name} it is not repeated`, async () => {
    for (const content of CONTENTS) {
      process.env[name] = content
      try {
        const record = { type: 'postgres', host: 'db.test', login: 'etl', extra: { auth_method: 'kerberos' } }
        await using db = await createEngine(record, { pool_timeout: 20 })
        assertHidden(await db.raw('select 1').catch((error: unknown) => error), content)
      } finally {
        delete process.env[name]
      }
    }
  })
}

test('a path that names no file is repeated', async () => {
  const path = '/nonexistent/connections.yaml'
  await assert.rejects(createEngine('sales', { stores: { file: path, environment: {} } }), {
    message: new RegExp(path),
  })
  const error = await failureOf('gcp-sm:prod/sales', { GOOGLE_APPLICATION_CREDENTIALS: '/nonexistent/key.json' })
  assert.match(String(error), /\/nonexistent\/key\.json does not exist/)
})
