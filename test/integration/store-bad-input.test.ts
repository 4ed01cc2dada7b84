/** Bad answers and bad contents, in each store in which they can occur: the error names store, path and step, never a value. */

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { afterEach, describe, test } from 'node:test'
import type { ErrorCode, PoolsmithError } from '../../src/errors.ts'
import { createEngine } from '../../src/index.ts'
import {
  at,
  aws,
  BYTES,
  failureOf,
  google,
  keyVault,
  LOCAL,
  REMOTE,
  type Remote,
  type Respond,
  type Store,
  VALUE,
  vault,
  writePrivate,
} from '../support/every-store.ts'
import { administer } from '../support/vault/server.ts'

afterEach(() => {
  for (const store of Object.values(REMOTE)) store.respond(undefined)
})

const WITHOUT_BYTES = ['the Parameter Store', 'Key Vault', 'the environment', 'an encrypted file']

for (const [name, store] of Object.entries({ ...REMOTE, ...LOCAL })) {
  describe(`a secret in ${name}`, () => {
    test('without the field that is named', async () => {
      await store.put({ password: VALUE, other: 'x' })
      const error = await failureOf(store, 'pasword')
      assert.equal(error.code, 'SECRET_FIELD_MISSING')
      assert.match(error.message, store.place)
      assert.match(error.message, /has no field pasword; it has the fields .*password/)
    })

    test('that is missing', async () => {
      // An encrypted file has to be there.
      await store.put({ password: VALUE })
      const error = await failureOf({ ...store, reference: store.missing })
      assert.equal(error.code, 'SECRET_MISSING', error.message)
      assert.match(error.message, /never/i)
      assert.ok(error.hint)
    })

    if (!WITHOUT_BYTES.includes(name)) {
      test('that is binary, where a text is due', async () => {
        await store.put(BYTES)
        const error = await failureOf(store)
        const isText = error.code === 'SECRET_UNUSABLE' || error.code === 'SECRET_FIELD_MISSING'
        assert.ok(isText, error.message)
        // Within a sentence where the field comes first.
        assert.match(error.message, new RegExp(store.place.source, 'i'))
        await store.put({ password: VALUE })
      })
    }

    test('whose reference does not parse', async () => {
      const [scheme] = store.reference.split(':')
      for (const wrong of [`${scheme}:`, `${scheme}:#x`, `${scheme}:a b\u0001`, `${scheme}:../x#`]) {
        const record = { type: 'postgres', host: 'db', extra: { password_from: wrong } } as const
        const error: unknown = await createEngine(record, { stores: { environment: {} } }).then(
          (db) => db.destroy(),
          (reason: unknown) => reason,
        )
        assert.equal((error as PoolsmithError | undefined)?.code, 'CONFIG_INVALID', wrong)
        assert.match((error as PoolsmithError).message, /password_from: expected a reference such as .*not repeated/)
      }
    })
  })
}

/** A byte of the body now and then, and no end. */
const drip: Respond = (response) => {
  response.writeHead(200, { 'content-type': 'application/json' })
  const timer = setInterval(() => response.write(' '), 10)
  response.once('close', () => clearInterval(timer))
}

const ANSWERS: Readonly<
  Record<string, readonly [code: ErrorCode, transient: boolean, answer: (of: Remote) => Respond]>
> = {
  'a token that has expired or was revoked': ['STORE_REFUSED', false, ({ expired }) => expired],
  'a right that is missing (403)': ['STORE_REFUSED', false, ({ forbidden }) => forbidden],
  'too many requests (429)': ['STORE_FAILED', true, ({ throttled }) => throttled],
  'a page of HTML': ['STORE_ANSWER_UNUSABLE', false, () => (response) => response.end('<html>Sign in</html>')],
  'a page of HTML with 404': [
    'STORE_ANSWER_UNUSABLE',
    false,
    () => (response) => response.writeHead(404).end('<html>'),
  ],
  'a redirection to plain HTTP': [
    'STORE_REDIRECTED',
    false,
    () => (response) => response.writeHead(307, { location: 'http://other.example.com/' }).end(),
  ],
  'a redirection to another host': [
    'STORE_REDIRECTED',
    false,
    () => (response) => response.writeHead(307, { location: 'https://other.example.com/' }).end(),
  ],
}

for (const [name, store] of Object.entries(REMOTE)) {
  describe(`${name} that answers with`, () => {
    for (const [what, [code, transient, answer]] of Object.entries(ANSWERS)) {
      test(what, async () => {
        await store.put({ password: VALUE })
        store.respond(answer(store))
        const error = await failureOf(store)
        assert.deepEqual([error.code, error.transient], [code, transient], error.message)
        assert.ok(error.hint)
        if (code === 'STORE_REFUSED' || code === 'STORE_FAILED') assert.match(error.message, store.subject)
        if (code === 'STORE_FAILED') assert.equal(error.details.retryAfterMillis, 7000)
      })
    }

    test('a byte now and then, for ever', async () => {
      await store.put({ password: VALUE })
      store.respond(drip)
      let error = await failureOf(store, 'password', store.limit)
      // A busy machine may not obtain the token within the limit either.
      while (error.code.startsWith('CREDENTIAL_')) error = await failureOf(store, 'password', store.limit)
      assert.deepEqual([error.code, error.transient], ['STORE_TIMEOUT', true], error.message)
    })
  })
}

test('a version that was deleted, destroyed or disabled is told apart from a secret that is missing', async () => {
  const { Vault, 'Key Vault': key_vault, 'Google Secret Manager': secret_manager, 'Secrets Manager': manager } = REMOTE
  await administer(vault, 'POST', 'secret/data/sales', { data: { password: VALUE } })
  await administer(vault, 'DELETE', 'secret/data/sales')
  keyVault.put('sales', VALUE)
  keyVault.disable('sales')
  const versions = google.secrets.put('projects/sales-prod/secrets/sales', VALUE)
  google.secrets.set('projects/sales-prod/secrets/sales', versions, 'DISABLED')
  aws.secrets.put('prod/sales', VALUE)
  aws.secrets.answer('DeleteSecret', { SecretId: 'prod/sales' })
  for (const store of [Vault, key_vault, secret_manager, manager] as readonly Remote[]) {
    const error = await failureOf(store)
    assert.equal(error.code, 'SECRET_DELETED', `${store.reference}: ${error.message}`)
    assert.match(error.message, store.subject)
  }
})

test('an encrypted file with a wrong key, one flipped bit or half its length is named with its fault', async () => {
  const store = LOCAL['an encrypted file'] as Store
  await store.put({ password: VALUE })
  const whole = await readFile(at('secrets'))
  const wrongKey = Buffer.alloc(32, 'another').toString('base64')
  const wrong = await failureOf({ ...store, environment: { POOLSMITH_SECRETS_KEY: wrongKey } })
  assert.deepEqual([wrong.code, wrong.message.includes(at('secrets'))], ['ENCRYPTED_KEY_WRONG', true], wrong.message)
  const flipped = Buffer.from(whole)
  const middle = flipped.length - 20
  flipped[middle] = (flipped[middle] ?? 0) ^ 1
  for (const content of [flipped, whole.subarray(0, whole.length / 2)]) {
    await writePrivate('secrets', content)
    const error = await failureOf(store)
    assert.match(error.code, /^ENCRYPTED_/)
    assert.ok(error.message.includes(at('secrets')), error.message)
  }
  await writePrivate('secrets', whole)
})
