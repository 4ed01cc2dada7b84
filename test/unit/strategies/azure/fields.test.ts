import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { parseFields } from '../../../../src/connections/fields.ts'
import { azureFields, credentialKind } from '../../../../src/strategies/azure/fields.ts'
import { azureProblems } from '../../../../src/strategies/azure/problems.ts'

const parse = (extra: Record<string, unknown>) => {
  const { values, problems } = parseFields(azureFields, extra)
  assert.deepEqual(problems, [])
  return values
}
const problems = (extra: Record<string, unknown>, environment: Record<string, string> = {}) =>
  azureProblems(parse(extra), environment).map(({ path }) => path)

describe('the credential that the options select', () => {
  for (const [extra, kind] of [
    [{}, 'default'],
    [{ client_id: 'c', tenant_id: 't' }, 'default'],
    [{ client_secret: 's' }, 'service_principal'],
    [{ client_certificate_path: '/c.pem' }, 'service_principal'],
    [{ federated_token_file: '/t' }, 'workload_identity'],
    [{ managed_identity_client_id: 'm' }, 'managed_identity'],
    [{ managed_identity_resource_id: 'm' }, 'managed_identity'],
    [{ azure_credential: 'cli', client_secret: 's' }, 'cli'],
    [{ credential: 'workload_identity' }, 'workload_identity'],
  ] as const) {
    test(`${JSON.stringify(extra)} means ${kind}`, () => assert.equal(credentialKind(parse(extra)), kind))
  }
})

describe('options that contradict each other', () => {
  test('a service principal needs three options, and one proof only', () => {
    assert.deepEqual(problems({ client_secret: 's' }), ['extra.tenant_id', 'extra.client_id'])
    assert.deepEqual(problems({ azure_credential: 'service_principal', tenant_id: 't', client_id: 'c' }), [
      'extra.client_secret',
    ])
    assert.deepEqual(
      problems({ tenant_id: 't', client_id: 'c', client_secret: 's', client_certificate_path: '/c.pem' }),
      ['extra.client_secret'],
    )
    assert.deepEqual(problems({ tenant_id: 't', client_id: 'c', client_certificate_path: '/c.pem' }), [])
  })

  test('a proof or a name of another identity than the one that is used is refused', () => {
    const principal = { tenant_id: 't', client_id: 'c', client_secret: 's' }
    for (const [extra, expected] of [
      [{ azure_credential: 'managed_identity', client_secret: 's' }, ['extra.client_secret']],
      [{ azure_credential: 'cli', client_certificate_path: '/c.pem' }, ['extra.client_certificate_path']],
      [{ azure_credential: 'cli', client_id: 'c' }, ['extra.client_id']],
      [{ ...principal, federated_token_file: '/t.jwt' }, ['extra.federated_token_file']],
      [{ ...principal, managed_identity_client_id: 'm' }, ['extra.managed_identity_client_id']],
      [{ client_certificate_password: 'p' }, ['extra.client_certificate_path']],
      [{ azure_credential: 'default', ...principal }, []],
      [{ azure_credential: 'interactive', client_id: 'c', tenant_id: 't' }, []],
    ] as const) {
      assert.deepEqual(problems(extra), expected, JSON.stringify(extra))
    }
  })

  test('a workload identity needs three values, which the platform may set', () => {
    assert.deepEqual(problems({ azure_credential: 'workload_identity' }), [
      'extra.tenant_id',
      'extra.client_id',
      'extra.federated_token_file',
    ])
    const environment = { AZURE_TENANT_ID: 't', AZURE_CLIENT_ID: 'c', AZURE_FEDERATED_TOKEN_FILE: '/f' }
    assert.deepEqual(problems({ azure_credential: 'workload_identity' }, environment), [])
  })

  test('two names for one managed identity, and an authority without TLS, are refused', () => {
    const two = { managed_identity_client_id: 'a', managed_identity_resource_id: 'b', authority_host: 'http://x' }
    assert.deepEqual(problems(two), ['extra.managed_identity_resource_id', 'extra.authority_host'])
    assert.deepEqual(problems({ authority_host: 'login' }), ['extra.authority_host'])
  })
})
