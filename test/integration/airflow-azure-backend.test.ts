/** Airflow's backend for Key Vault, with its layout and arguments, on a double of the service. */

import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { failureOf, type Opening, openSettings, textOf } from '../support/airflow-store.ts'
import { startKeyVaultDouble } from '../support/azure/key-vault-double.ts'
import { startOpenIdProvider } from '../support/openid-provider.ts'

const SECRET = 'a-secret-that-nobody-may-see'

const resources = new AsyncDisposableStack()
after(() => resources.disposeAsync())
const provider = resources.use(await startOpenIdProvider({ app: { secret: SECRET } }))
const vault = resources.use(
  await startKeyVaultDouble(
    `${provider.authorityHost}/${provider.tenant}`,
    async (token, audience) => (await provider.verify(token, audience)).appid,
  ),
)
resources.defer(() => vault.agents.https.destroy())
vault.rights.set('app', new Set(['get', 'list', 'set']))

const ask = { signal: AbortSignal.timeout(120_000) }

describe('Key Vault', () => {
  const LOGIN = {
    tenant_id: provider.tenant,
    client_id: 'app',
    client_secret: SECRET,
    disable_instance_discovery: true,
  }
  const URL_OF_VAULT = 'https://sales.vault.azure.net/'
  const opening: Opening = {
    agents: vault.agents,
    environment: { AZURE_AUTHORITY_HOST: provider.authorityHost },
  }

  test('each _ becomes the separator, and a name that cannot be one is not asked for', async () => {
    vault.put('airflow-connections-my-sales', 'postgres://h/sales')
    const settings = { type: 'azure-kv', vault_url: URL_OF_VAULT, ...LOGIN }
    const store = await openSettings(settings, opening)
    assert.equal(store.name, 'the Key Vault sales.vault.azure.net')
    assert.equal(await textOf(store.getConnection?.('my_sales', ask)), 'postgres://h/sales')
    assert.equal(await store.getConnection?.('never', ask), undefined)
    vault.asked.length = 0
    assert.equal(await store.getConnection?.('a.b', ask), undefined)
    assert.equal(vault.asked.length, 0)
  })

  test('an address that is no vault, and a login that is refused, are errors', async () => {
    assert.match((await failureOf(openSettings({ type: 'azure-kv', ...LOGIN }))).message, /vault_url: missing/)
    const plain = { type: 'azure-kv', vault_url: 'http://sales.vault.azure.net', ...LOGIN }
    assert.match((await failureOf(openSettings(plain))).message, /vault_url: expected/)
  })
})
