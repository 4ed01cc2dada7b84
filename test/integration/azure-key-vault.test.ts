/** Key Vault, on a double that verifies tokens of a tenant, with Microsoft's own client beside ours. */

import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { after, beforeEach, describe, test } from 'node:test'
import { ClientSecretCredential } from '@azure/identity'
import { SecretClient } from '@azure/keyvault-secrets'
import { ConfigError, type ErrorCode } from '../../src/index.ts'
import { type Right, refuseByVault, startKeyVaultDouble } from '../support/azure/key-vault-double.ts'
import { answerWithoutEnd } from '../support/endless.ts'
import { findSecrets } from '../support/object-graph.ts'
import { type OpenedStore, openStore } from '../support/open-store.ts'
import { startOpenIdProvider } from '../support/openid-provider.ts'

const SECRET = 'a-secret-that-nobody-may-see'

const resources = new AsyncDisposableStack()
after(() => resources.disposeAsync())
const provider = resources.use(
  await startOpenIdProvider({ app: { secret: SECRET }, reader: { secret: SECRET }, stranger: { secret: SECRET } }),
)
const vault = resources.use(
  await startKeyVaultDouble(
    `${provider.authorityHost}/${provider.tenant}`,
    async (token, audience) => (await provider.verify(token, audience)).appid,
  ),
)
resources.defer(() => vault.agents.https.destroy())
const all: ReadonlySet<Right> = new Set(['get', 'list', 'set'])
vault.rights.set('app', all).set('reader', new Set(['get']))

beforeEach(() => {
  Object.assign(vault, { fault: undefined, resource: undefined })
  Object.assign(provider, { answer: { kind: 'token' } })
  vault.asked.length = 0
})

const LOGIN = {
  tenant_id: provider.tenant,
  client_id: 'app',
  client_secret: SECRET,
  authority_host: provider.authorityHost,
  disable_instance_discovery: true,
}

function open(reference: string, options: Readonly<Record<string, unknown>> = {}): OpenedStore {
  return openStore(reference, { ...LOGIN, ...options }, {}, vault.agents)
}

describe('a secret of Key Vault', () => {
  test("is read by the vault's name, its URL and a version, as Microsoft's own client reads it", async () => {
    const first = vault.put('db-password', 'one')
    vault.put('db-password', 'two')
    const { authority_host: authorityHost } = LOGIN
    const credential = new ClientSecretCredential(provider.tenant, 'app', SECRET, {
      authorityHost,
      disableInstanceDiscovery: true,
    })
    const policy = {
      name: 'toDouble',
      sendRequest: (request: { agent?: unknown }, next: (request: never) => Promise<never>) => {
        request.agent = vault.agents.https
        return next(request as never)
      },
    }
    const client = new SecretClient('https://sales.vault.azure.net', credential, {
      additionalPolicies: [{ position: 'perCall', policy }],
    })
    for (const [reference, version] of [
      ['azure-kv:sales/db-password', undefined],
      [`azure-kv:sales/db-password/${first}`, first],
      ['azure-kv:https://sales.vault.azure.net/db-password', undefined],
      [`azure-kv:https://sales.vault.azure.net/secrets/db-password/${first}`, first],
    ] as const) {
      const theirs = await client.getSecret('db-password', { version })
      using store = open(reference)
      const ours = await store.read()
      assert.equal(await store.value(), theirs.value)
      assert.equal(ours.version, theirs.properties.version)
      assert.equal(ours.writtenAt, theirs.properties.createdOn?.getTime())
    }
  })

  test('a token is obtained once, for the resource that the vault asks for', async () => {
    vault.put('often', 'one')
    using store = open('azure-kv:sales/often')
    const before = provider.requests.length
    for (let count = 0; count < 3; count++) await store.value()
    const scopes = provider.requests.slice(before).map(({ form }) => form.get('scope'))
    assert.deepEqual(scopes, ['https://vault.azure.net/.default'])
  })

  test('a field of JSON is read', async () => {
    vault.put('json', '{"username":"etl","password":"one"}')
    using store = open('azure-kv:sales/json#password')
    assert.equal(await store.value(), 'one')
  })

  test('the version before is tried, past disabled ones, unless a version is named', async () => {
    vault.put('turns', 'first')
    vault.put('turns', 'second')
    vault.disable('turns')
    const third = vault.put('turns', 'third')
    using store = open('azure-kv:sales/turns')
    assert.deepEqual(await store.others(), ['first'])
    using named = open(`azure-kv:sales/turns/${third}`)
    assert.deepEqual(await named.others(), [])
  })

  test('an identity that may not list versions reads the present one alone', async () => {
    vault.put('narrow', 'first')
    vault.put('narrow', 'second')
    using store = open('azure-kv:sales/narrow', { client_id: 'reader' })
    assert.equal(await store.value(), 'second')
    assert.deepEqual(await store.others(), [])
  })
})

describe('a vault that gives no secret', () => {
  const failure = async (name: string, options: object = {}) => {
    using store = open(`azure-kv:sales/${name}`, { ...options })
    return await store.failure()
  }

  test('missing, deleted, disabled and not allowed are told apart', async () => {
    vault.put('gone', 'one')
    vault.delete('gone')
    vault.put('off', 'one')
    vault.disable('off')
    vault.put('there', 'one')
    assert.equal((await failure('never')).code, 'SECRET_MISSING')
    assert.equal((await failure('there/0123456789abcdef0123456789abcdef')).code, 'SECRET_MISSING')
    const deleted = await failure('gone')
    assert.deepEqual([deleted.code, /was deleted/.test(deleted.message)], ['SECRET_DELETED', true])
    const disabled = await failure('off')
    assert.equal(disabled.code, 'SECRET_DELETED')
    assert.match(disabled.hint ?? '', /disabled/)
    const refused = await failure('there', { client_id: 'stranger' })
    assert.equal(refused.code, 'STORE_REFUSED')
    assert.match(refused.hint ?? '', /Key Vault Secrets User/)
  })

  const ANSWERS: readonly (readonly [string, ErrorCode, boolean, (response: ServerResponse) => void])[] = [
    ['429', 'STORE_FAILED', true, (response) => refuseByVault(response, 429, 'Throttled', 'Too many')],
    ['503', 'STORE_FAILED', true, (response) => response.writeHead(503).end('<html>')],
    [
      'the firewall',
      'STORE_REFUSED',
      false,
      (response) => refuseByVault(response, 403, 'Forbidden', 'no', { inner: 'ForbiddenByFirewall' }),
    ],
    ['HTML', 'STORE_ANSWER_UNUSABLE', false, (response) => response.end('<html>Sign in</html>')],
    [
      'JSON without a value',
      'STORE_ANSWER_UNUSABLE',
      false,
      (response) => response.writeHead(200, { 'content-type': 'application/json' }).end('{}'),
    ],
    [
      'a redirection',
      'STORE_REDIRECTED',
      false,
      (response) => response.writeHead(307, { location: 'https://other.vault.test/x' }).end(),
    ],
    ['an answer that does not end', 'STORE_ANSWER_UNUSABLE', false, (response) => void answerWithoutEnd(response)],
    ['a connection that breaks', 'STORE_UNREACHABLE', true, (response) => response.destroy()],
    ['400', 'STORE_FAILED', false, (response) => refuseByVault(response, 400, 'BadParameter', 'bad')],
  ]
  for (const [what, code, isTransient, respond] of ANSWERS) {
    test(`${what} is ${code}`, async () => {
      vault.fault = (_path, response) => {
        respond(response)
        return true
      }
      const error = await failure('any')
      assert.deepEqual([error.code, error.transient], [code, isTransient], error.message)
      assert.doesNotMatch(error.message, /Cannot read properties|Unexpected token/)
      assert.match(error.message, /Key Vault/)
    })
  }

  test('the wait that Key Vault asks for is kept', async () => {
    vault.fault = (_path, response) => {
      refuseByVault(response, 429, 'Throttled', 'Too many', { headers: { 'retry-after': '7' } })
      return true
    }
    assert.equal((await failure('any')).details.retryAfterMillis, 7000)
  })

  test('a vault that does not answer fails by credential_timeout, and at once by the signal', async () => {
    using quick = open('azure-kv:sales/quick', { credential_timeout: 0.5 })
    vault.fault = () => true
    let error = await quick.failure()
    // A busy machine may not obtain the token within the limit either.
    while (error.code.startsWith('CREDENTIAL_')) error = await quick.failure()
    assert.equal(error.code, 'STORE_TIMEOUT')
    using slow = open('azure-kv:sales/any', { credential_timeout: 600 })
    const reason = new Error('given up')
    const controller = new AbortController()
    vault.fault = () => {
      controller.abort(reason)
      return true
    }
    await assert.rejects(slow.read(controller.signal), reason)
  })

  test('a host that asks for a token of another domain gets none', async () => {
    vault.resource = 'https://vault.azure.net'
    using store = open('azure-kv:https://sales.vault.test/any')
    const before = provider.requests.length
    const error = await store.failure()
    assert.equal(error.code, 'STORE_REFUSED')
    assert.match(error.message, /sales\.vault\.test asks for a token of another domain/)
    assert.equal(provider.requests.length, before)
  })

  test('a token that cannot be obtained is an error of the credential', async () => {
    assert.equal((await failure('any', { client_secret: 'wrong' })).code, 'CREDENTIAL_REFUSED')
    provider.answer = { kind: 'error', status: 503 }
    const error = await failure('any')
    assert.deepEqual([error.code, error.transient], ['CREDENTIAL_FAILED', true])
  })

  test('a token that the vault refuses is not used again', async () => {
    vault.put('revoked', 'one')
    using store = open('azure-kv:sales/revoked')
    provider.answer = { kind: 'token', audience: 'https://other.example.com' }
    assert.equal((await store.failure()).code, 'STORE_REFUSED')
    provider.answer = { kind: 'token' }
    assert.equal(await store.value(), 'one')
  })

  test('no error holds the secret of the identity, or a token', async () => {
    vault.fault = (_path, response) => {
      refuseByVault(response, 400, 'BadParameter', `The words ${SECRET} are repeated`)
      return true
    }
    assert.deepEqual(findSecrets([await failure('any')], [SECRET]), [])
    let token = ''
    vault.fault = (_path, response) => {
      token = response.req.headers.authorization?.slice('Bearer '.length) ?? ''
      refuseByVault(response, 400, 'BadParameter', token)
      return true
    }
    const { message } = await failure('any')
    assert.ok(token.length > 100 && message.endsWith(': [secret].'), message)
  })
})

describe('the options', () => {
  const problems = (reference: string, options: object): string[] => {
    try {
      openStore(reference, { ...options })[Symbol.dispose]()
      return []
    } catch (error) {
      assert.ok(error instanceof ConfigError)
      return error.problems.map(({ path }) => path)
    }
  }

  test('the options of azure_ad are checked as for a database', () => {
    assert.deepEqual(problems('azure-kv:sales/x', { client_secret: 'x' }), ['extra.tenant_id', 'extra.client_id'])
    assert.deepEqual(problems('azure-kv:sales/x', { azure_credential: 'password' }), ['extra.azure_credential'])
  })

  test('a vault of another cloud is reached by its domain, or by its URL', async () => {
    vault.put('elsewhere', 'one')
    for (const [reference, options] of [
      ['azure-kv:sales/elsewhere', { cloud: 'government' }],
      ['azure-kv:sales/elsewhere', { cloud: 'china' }],
      ['azure-kv:https://sales.vault.usgovcloudapi.net/elsewhere', {}],
      [`azure-kv:https://sales.vault.test:${vault.port}/elsewhere`, {}],
    ] as const) {
      using store = open(reference, options)
      assert.equal(await store.value(), 'one')
    }
  })

  test('names that Azure does not allow are no references', () => {
    for (const bad of [
      'azure-kv:sales',
      'azure-kv:sales/a_b',
      'azure-kv:http://sales.vault.azure.net/x',
      'azure-kv:sales/x/1',
    ]) {
      assert.throws(() => openStore(bad, LOGIN), /no reference/, bad)
    }
  })
})
