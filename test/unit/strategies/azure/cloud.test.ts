import assert from 'node:assert/strict'
import test from 'node:test'
import { authorityOf, CLOUDS, scopeOf } from '../../../../src/strategies/azure/cloud.ts'

test('each cloud has its own authority and its own scopes, one for each kind of database', async () => {
  const { AzureAuthorityHosts } = await import('@azure/identity')
  assert.equal(authorityOf('public'), AzureAuthorityHosts.AzurePublicCloud)
  assert.equal(authorityOf('china'), AzureAuthorityHosts.AzureChina)
  assert.equal(authorityOf('government'), AzureAuthorityHosts.AzureGovernment)
  const scopes = CLOUDS.flatMap((cloud) => [scopeOf(cloud, 'postgres'), scopeOf(cloud, 'mssql')])
  assert.equal(new Set(scopes).size, 6)
  for (const scope of scopes) assert.match(scope, /^https:\/\/(ossrdbms-aad\.)?database\.[a-z.]+\/\.default$/)
})
