import { after } from 'node:test'
import { parseFields } from '../../src/connections/fields.ts'
import { keyVaultReader } from '../../src/stores/azure/key-vault.ts'
import { azureFields } from '../../src/strategies/azure/fields.ts'
import { startKeyVaultDouble } from '../support/azure/key-vault-double.ts'
import { startOpenIdProvider } from '../support/openid-provider.ts'
import { writingSuite } from '../support/writing-suite.ts'

const SECRET = 'a-secret-that-nobody-may-see'

const resources = new AsyncDisposableStack()
after(() => resources.disposeAsync())
const provider = resources.use(await startOpenIdProvider({ app: { secret: SECRET } }))
const { authorityHost: authority_host, tenant: tenant_id } = provider
const vault = resources.use(
  await startKeyVaultDouble(`${authority_host}/${tenant_id}`, async (token, audience) => {
    return (await provider.verify(token, audience)).appid
  }),
)
resources.defer(() => vault.agents.https.destroy())
vault.rights.set('app', new Set(['get', 'set']))

const { values: options } = parseFields(azureFields, {
  tenant_id,
  authority_host,
  client_id: 'app',
  client_secret: SECRET,
  disable_instance_discovery: true,
})

writingSuite(
  'Key Vault',
  async () => {
    const context = { environment: {}, agents: vault.agents, emit: () => undefined }
    const reader = await keyVaultReader((path) => `The secret ${path}`, options, context)
    resources.defer(() => reader.close?.())
    return reader
  },
  (name) => `sales/${name}`,
)
