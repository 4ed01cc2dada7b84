import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { defaultIdentity } from '../../../../src/strategies/azure/default-identity.ts'

const ID = { AZURE_CLIENT_ID: 'c' }
const BOTH = { ...ID, AZURE_TENANT_ID: 't' }

describe('the identity that the record and the environment name', () => {
  for (const [what, options, environment, expected] of [
    ['nothing', {}, {}, { kind: 'chain' }],
    ['a tenant alone', { tenant_id: 't' }, { AZURE_TENANT_ID: 't' }, { kind: 'chain' }],
    [
      'a service principal by secret',
      {},
      { ...BOTH, AZURE_CLIENT_SECRET: 's' },
      { kind: 'environment', clientId: 'c', tenantId: 't', proof: 'AZURE_CLIENT_SECRET' },
    ],
    [
      'a service principal by certificate',
      {},
      { ...BOTH, AZURE_CLIENT_CERTIFICATE_PATH: '/c.pem' },
      { kind: 'environment', clientId: 'c', tenantId: 't', proof: 'AZURE_CLIENT_CERTIFICATE_PATH' },
    ],
    [
      'an application in the record, its secret in the environment',
      { client_id: 'mine', tenant_id: 'here' },
      { AZURE_CLIENT_SECRET: 's' },
      { kind: 'environment', clientId: 'mine', tenantId: 'here', proof: 'AZURE_CLIENT_SECRET' },
    ],
    [
      'a person',
      {},
      { ...BOTH, AZURE_USERNAME: 'u', AZURE_PASSWORD: 'p' },
      { kind: 'environment', clientId: 'c', tenantId: 't', proof: 'AZURE_PASSWORD' },
    ],
    [
      'a workload',
      {},
      { ...BOTH, AZURE_FEDERATED_TOKEN_FILE: '/f' },
      { kind: 'workload_identity', clientId: 'c', tenantId: 't', tokenFilePath: '/f' },
    ],
    [
      'a workload, the application in the record',
      { client_id: 'mine' },
      { ...BOTH, AZURE_FEDERATED_TOKEN_FILE: '/f' },
      { kind: 'workload_identity', clientId: 'mine', tenantId: 't', tokenFilePath: '/f' },
    ],
    ['a managed identity', {}, ID, { kind: 'managed_identity', clientId: 'c' }],
    [
      'an application that may be a managed identity, where a workload is',
      { client_id: 'mine', managed_identity_client_id: 'mine' },
      { ...BOTH, AZURE_FEDERATED_TOKEN_FILE: '/f' },
      { kind: 'workload_identity', clientId: 'mine', tenantId: 't', tokenFilePath: '/f' },
    ],
    [
      'an application that may be a managed identity, where none is',
      { client_id: 'mine', managed_identity_client_id: 'mine' },
      BOTH,
      { kind: 'managed_identity', clientId: 'mine' },
    ],
    ['a credential of the chain', {}, { ...BOTH, AZURE_TOKEN_CREDENTIALS: 'AzureCliCredential' }, { kind: 'chain' }],
  ] as const) {
    test(`${what}: ${expected.kind}`, () => assert.deepEqual(defaultIdentity(options, environment), expected))
  }

  for (const [what, options, environment, words] of [
    ['a secret without its application', {}, { AZURE_CLIENT_SECRET: 's' }, /AZURE_CLIENT_ID and AZURE_TENANT_ID$/],
    ['a secret without its tenant', {}, { ...ID, AZURE_CLIENT_SECRET: 's' }, /but not AZURE_TENANT_ID$/],
    ['a certificate alone', {}, { AZURE_CLIENT_CERTIFICATE_PATH: '/c' }, /sets AZURE_CLIENT_CERTIFICATE_PATH/],
    ['a password without its person', {}, { ...BOTH, AZURE_PASSWORD: 'p' }, /but not AZURE_USERNAME$/],
    ['a token file without its application', {}, { AZURE_FEDERATED_TOKEN_FILE: '/f' }, /but not AZURE_CLIENT_ID$/],
    ['an application and its tenant, and nothing more', {}, BOTH, /none of AZURE_CLIENT_SECRET/],
    ['an application of the record alone', { client_id: 'c', tenant_id: 't' }, {}, /nothing proves it/],
    [
      "an application of the record, and another one's secret",
      { client_id: 'mine' },
      { ...BOTH, AZURE_CLIENT_SECRET: 's' },
      /nothing proves it/,
    ],
  ] as const) {
    test(`${what}: no other identity takes its place`, () => {
      const found = defaultIdentity(options, environment)
      assert.ok(found.kind === 'incomplete', found.kind)
      assert.match(found.message, words)
    })
  }
})
