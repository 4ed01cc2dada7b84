/** Answers of Vault, and of what stands in its place, that give no secret: each is a specific error without a secret. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type ErrorCode, PoolsmithError } from '../../src/errors.ts'
import { KeyValues } from '../../src/vault/kv.ts'
import { findSecrets } from '../support/object-graph.ts'
import { startVaultDouble, type VaultDouble } from '../support/vault/double.ts'
import { administer } from '../support/vault/server.ts'
import { vaultOf } from '../support/vault/suite.ts'

const TOKEN = 's.TheTokenOfThisTest0123456789'
const PASSWORD = 'Passw0rd-of-this-test'

type Fault = NonNullable<VaultDouble['fault']>

interface Case {
  readonly fault: Fault
  readonly code: ErrorCode
  readonly message: RegExp
  readonly transient?: boolean
  readonly details?: Readonly<Record<string, unknown>>
}

const answering =
  (status: number, body: unknown = { errors: [] }, headers: Readonly<Record<string, string>> = {}): Fault =>
  () => ({ status, body, headers })

const CASES: Readonly<Record<string, Case>> = {
  'HTML in place of an answer': {
    fault: answering(200, '<html>Sign in</html>'),
    code: 'STORE_ANSWER_UNUSABLE',
    message: /answer of Vault 127\.0\.0\.1:\d+ is not a JSON object/,
  },
  'JSON that is no secret': {
    fault: answering(200, { data: ['x'] }),
    code: 'STORE_ANSWER_UNUSABLE',
    message: /gave no secret of the key-value engine for secret\/sales/,
  },
  'an answer without an end': {
    fault: (_asked, response) => {
      response.writeHead(200)
      const pump = (): void => {
        while (response.write('x'.repeat(65_536)));
        response.once('drain', pump)
      }
      pump()
      return 'handled'
    },
    code: 'STORE_ANSWER_UNUSABLE',
    message: /is longer than 1048576 bytes/,
  },
  'no answer for ever': {
    fault: () => 'handled',
    code: 'STORE_TIMEOUT',
    message: /did not answer within 0\.5 s/,
    transient: true,
  },
  'an answer that comes byte by byte for ever': {
    fault: (_asked, response) => {
      response.writeHead(200)
      const timer = setInterval(() => response.write(' '), 10)
      response.once('close', () => clearInterval(timer))
      return 'handled'
    },
    code: 'STORE_TIMEOUT',
    message: /did not answer within 0\.5 s/,
    transient: true,
  },
  'an answer that ends in the middle': {
    fault: (_asked, response) => {
      response.writeHead(200, { 'content-length': '1000' })
      response.write('{')
      setImmediate(() => response.destroy())
      return 'handled'
    },
    code: 'STORE_UNREACHABLE',
    message: /cannot be reached/,
    transient: true,
  },
  '429 with Retry-After': {
    fault: answering(
      429,
      { errors: ['request path "secret/data/sales": rate limit quota exceeded'] },
      { 'retry-after': '7' },
    ),
    code: 'STORE_FAILED',
    message: /HTTP 429\): request path "secret\/data\/sales": rate limit/,
    transient: true,
    details: { retryAfterMillis: 7000 },
  },
  'an engine of another version': {
    fault: answering(404, { data: null, warnings: ['Invalid path for a versioned K/V secrets engine. See the docs.'] }),
    code: 'STORE_REFUSED',
    message: /HTTP 404\): Invalid path for a versioned K\/V secrets engine/,
  },
  'a load balancer without a node behind it': {
    fault: answering(503, '<html>Service Unavailable</html>'),
    code: 'STORE_FAILED',
    message: /HTTP 503/,
    transient: true,
  },
  'a node that is behind': {
    fault: answering(412, { errors: ['required index state not present'] }),
    code: 'STORE_FAILED',
    message: /HTTP 412/,
    transient: true,
  },
  'a Vault that is not initialised': {
    fault: answering(501),
    code: 'STORE_FAILED',
    message: /HTTP 501/,
    transient: true,
  },
  'an error of its own': { fault: answering(500), code: 'STORE_FAILED', message: /HTTP 500/, transient: true },
  'words with the token and control characters': {
    fault: (asked) => ({ status: 403, body: { errors: [`no\u001b[2J ${asked.headers['x-vault-token']}`] } }),
    code: 'STORE_REFUSED',
    message: /no\\x1b\[2J \[secret\]/,
  },
  'a redirection to plain HTTP elsewhere': {
    fault: answering(307, '', { location: 'http://vault.example.com/v1/secret/data/sales' }),
    code: 'STORE_REDIRECTED',
    message: /redirects to http:\/\/vault\.example\.com, where the token would be sent unencrypted/,
  },
  'a redirection to another host': {
    fault: answering(307, '', { location: 'https://vault.example.com/v1/secret/data/sales' }),
    code: 'STORE_REDIRECTED',
    message: /redirects to https:\/\/vault\.example\.com, which is not known as one of its nodes/,
  },
  'a redirection with a login in it': {
    fault: answering(307, '', { location: 'https://user:word@127.0.0.1:1/v1/secret/data/sales' }),
    code: 'STORE_REDIRECTED',
    message: /redirects to https:\/\/127\.0\.0\.1:1, which is not known/,
  },
  'a redirection that changes the request': {
    fault: answering(302, '', { location: '/ui' }),
    code: 'STORE_REDIRECTED',
    message: /by a status that changes the request/,
  },
  'a redirection in a circle': {
    fault: answering(307, '', { location: '/v1/secret/data/sales' }),
    code: 'STORE_REDIRECTED',
    message: /again and again/,
  },
  'a redirection that cannot be read': {
    fault: answering(307, '', { location: 'http://[' }),
    code: 'STORE_REDIRECTED',
    message: /an address that cannot be read/,
  },
}

describe('an answer that gives no secret', () => {
  for (const [name, { fault, code, message, transient = false, details = {} }] of Object.entries(CASES)) {
    test(`${name}: ${code}`, { timeout: 60_000 }, async () => {
      await using server = await startVaultDouble()
      await administer(server, 'POST', 'secret/data/sales', { data: { password: PASSWORD } })
      using vault = vaultOf(server, { vault_token: TOKEN, vault_timeout: code === 'STORE_TIMEOUT' ? 0.5 : 20 })
      server.fault = fault
      const error = await new KeyValues(vault, 2).read('secret/sales', AbortSignal.timeout(30_000)).then(
        () => undefined,
        (reason: unknown) => reason,
      )
      assert.ok(error instanceof PoolsmithError)
      assert.equal(error.code, code, error.message)
      assert.match(error.message, message)
      assert.equal(error.transient, transient)
      assert.ok(error.hint)
      for (const [key, value] of Object.entries(details)) assert.deepEqual(error.details[key], value)
      assert.deepEqual(findSecrets(error, [TOKEN, PASSWORD]), [])
    })
  }
})

test('a Vault that nothing listens for is unreachable', async () => {
  await using server = await startVaultDouble()
  using vault = vaultOf(server, { vault_token: TOKEN, vault_addr: 'http://127.0.0.1:1' })
  const read = new KeyValues(vault, 2).read('secret/sales', AbortSignal.timeout(30_000))
  await assert.rejects(read, { code: 'STORE_UNREACHABLE', transient: true })
})

async function hintOf(read: Promise<unknown>): Promise<string> {
  const error: unknown = await read.catch((reason: unknown) => reason)
  assert.ok(error instanceof PoolsmithError, 'a secret was given')
  return error.hint ?? ''
}

test('the hint of a path with the data/ of the API has the path without it', async () => {
  await using server = await startVaultDouble()
  await administer(server, 'POST', 'secret/data/sales', { data: { password: PASSWORD } })
  using vault = vaultOf(server, { vault_token: server.rootToken })
  const values = new KeyValues(vault, undefined)
  const signal = AbortSignal.timeout(30_000)
  assert.match(await hintOf(values.read('secret/data/sales', signal)), /^Leave data\/ out.*: vault:secret\/sales\.$/)
  assert.match(await hintOf(values.read('secret/nothing', signal)), /^Check the mount, the path/)
})

test('the hint of a database user that cannot be made is about the role, and not about a login', async () => {
  await using server = await startVaultDouble()
  using vault = vaultOf(server, { vault_token: server.rootToken })
  server.fault = ({ path }) =>
    path.startsWith('database/') ? { status: 400, body: { errors: ['unknown role: etl'] } } : undefined
  const asked = vault.query({ step: 'give a user', path: 'database/creds/etl' }, AbortSignal.timeout(30_000))
  assert.equal(
    await hintOf(asked),
    'Check the options that lead to database/creds/etl: the mount, and the role or the key behind it.',
  )
})

test('the hint of a login that is refused is about the login, and that of the engine about the engine', async () => {
  await using server = await startVaultDouble()
  const signal = AbortSignal.timeout(30_000)
  server.fault = ({ path }) =>
    path.startsWith('auth/approle/') || path.startsWith('sys/') ? { status: 403, body: { errors: [] } } : undefined
  using approle = vaultOf(server, { vault_auth: 'approle', vault_role_id: 'etl' })
  assert.match(await hintOf(new KeyValues(approle, undefined).read('secret/sales', signal)), /^Check vault_auth, /)
  using token = vaultOf(server, { vault_token: server.rootToken })
  assert.match(await hintOf(new KeyValues(token, undefined).read('secret/sales', signal)), /set vault_kv_version/)
})
