/** Stores that can only be read, and certificates that are none, are noticed before anything is asked for or made. */

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { PoolsmithError } from '../../../src/errors.ts'
import { rotate, rotateCertificate } from '../../../src/rotation/index.ts'
import { temporaryFolder } from '../../support/folder.ts'

// No server is asked: nothing listens there.
const PLACE = { type: 'postgres', host: '127.0.0.1', port: 1, login: 'etl', database: 'sales' } as const
const environment = {
  LOGIN: '{"password": "hunter2"}',
  CLIENT: '{"cert": "hunter2", "key": "hunter2"}',
}

async function failure(rotation: Promise<unknown>): Promise<PoolsmithError> {
  const error: unknown = await rotation.catch((reason: unknown) => reason)
  assert.ok(error instanceof PoolsmithError, String(error))
  assert.doesNotMatch(`${error.message} ${error.hint} ${JSON.stringify(error)}`, /hunter2/)
  return error
}

test('a password in a store that can only be read is refused before the login', async () => {
  const record = { ...PLACE, extra: { password_from: 'env:LOGIN#password' } }
  const error = await failure(rotate(record, { stores: { environment } }))
  assert.deepEqual([error.code, error.details['step']], ['STORE_READ_ONLY', 'read'])
  assert.match(error.message, /The environment variable LOGIN can only be read\.$/)
  assert.doesNotMatch(error.hint ?? '', /pending|again/)
})

test('no certificate is issued for a store that can only be read', async () => {
  const extra = { auth_method: 'ssl_cert', sslcert_from: 'env:CLIENT#cert', sslkey_from: 'env:CLIENT#key' }
  const issue = () => assert.fail('a certificate was issued')
  const error = await failure(rotateCertificate({ ...PLACE, extra }, { issue, stores: { environment } }))
  assert.deepEqual([error.code, error.details['step']], ['STORE_READ_ONLY', 'read'])
})

test('a field that holds no certificate is named, and none is issued', async () => {
  await using folder = await temporaryFolder()
  const file = join(folder.path, 'client.json')
  await writeFile(file, environment.CLIENT, { mode: 0o600 })
  const extra = { auth_method: 'ssl_cert', sslcert_from: `file:${file}#cert`, sslkey_from: `file:${file}#key` }
  const issue = () => assert.fail('a certificate was issued')
  const error = await failure(rotateCertificate({ ...PLACE, extra }, { issue, stores: { environment: {} } }))
  assert.deepEqual([error.code, error.details['step']], ['CERTIFICATE_MALFORMED', 'read'])
  assert.ok(
    error.message.endsWith(`The field cert of the file ${file} holds no certificate in PEM form.`),
    error.message,
  )
})
