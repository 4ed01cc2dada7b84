/** Logins to Vault by identities of others: of Azure, Google, GitHub, LDAP and RADIUS, each verified as Vault would. */

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, beforeEach, describe, test } from 'node:test'
import { inspect } from 'node:util'
import { gcpMetadata } from 'google-auth-library'
import { ConfigError, createEngine, findConnection, type PoolsmithError } from '../../src/index.ts'
import { temporaryFolder } from '../support/folder.ts'
import { MACHINE, PERSON, startGoogleDouble } from '../support/google/double.ts'
import { findSecrets } from '../support/object-graph.ts'
import { openStore } from '../support/open-store.ts'
import { startOpenIdProvider } from '../support/openid-provider.ts'
import { startVaultDouble } from '../support/vault/double.ts'
import { AZURE_RESOURCE } from '../support/vault/identity-logins.ts'
import { administer } from '../support/vault/server.ts'

const ACCOUNT = 'etl@sales-prod.iam.gserviceaccount.com'
const TARGET = 'vault@sales-prod.iam.gserviceaccount.com'
const CLIENT_SECRET = 'a-client-secret-that-shows-nowhere'
const PASSWORD = 'a-password-that-shows-nowhere'
const GITHUB = 'ghp_a-token-that-shows-nowhere'
const CLASS = 'airflow.providers.hashicorp.secrets.vault.VaultBackend'
const HOUR_MILLIS = 3_600_000

const resources = new AsyncDisposableStack()
after(() => resources.disposeAsync())
const folder = resources.use(await temporaryFolder())
const vault = resources.use(await startVaultDouble())
const google = resources.use(await startGoogleDouble())
resources.defer(() => google.agents.https.destroy())
const entra = resources.use(await startOpenIdProvider({ app: { secret: CLIENT_SECRET } }))
const key = google.keyFile(ACCOUNT)
google.keyFile(TARGET)
google.keyFile(MACHINE)
const file = join(folder.path, 'key.json')
await writeFile(file, key, { mode: 0o600 })

const { passwords, github } = vault.identities
vault.identities.azure = async (token, resource) => (await entra.verify(token, resource)).appid
vault.identities.google = (jwt) => google.accountOf(jwt)
for (const method of ['userpass', 'ldap', 'radius']) passwords.set(`${method}/etl`, PASSWORD)
github.set(GITHUB, 'etl')
const policy = 'path "secret/data/*" { capabilities = ["read"] }'
await administer(vault, 'POST', 'sys/policies/acl/reader', { policy })
const role = { token_policies: ['reader'], bound_service_accounts: [ACCOUNT, TARGET, MACHINE] }
await administer(vault, 'POST', 'auth/gcp/role/etl', role)
await administer(vault, 'POST', 'auth/gcp/role/bound-vm', { ...role, bound_virtual_machine: 'vm-7' })
await administer(vault, 'POST', 'secret/data/sales', { data: { password: 'first' } })
await administer(vault, 'POST', 'secret/data/connections/sales', { data: { conn_uri: 'postgres://backend/sales' } })

beforeEach(() => {
  for (const name of Object.keys(process.env))
    if (/^(GOOGLE_|GCE_|CLOUDSDK_|AZURE_)/.test(name)) delete process.env[name]
  process.env.CLOUDSDK_CONFIG = folder.path
  process.env.METADATA_SERVER_DETECTION = 'none'
  gcpMetadata.setGCPResidency(false)
  google.delegations.clear()
  vault.aheadMillis = 0
  vault.asked.length = 0
})

const BASE = { vault_addr: vault.address, vault_kv_version: 2, vault_role: 'etl' }
const open = (options: Readonly<Record<string, unknown>>, agents?: typeof google.agents) =>
  openStore('vault:secret/sales#password', { ...BASE, ...options }, {}, agents)

async function value(options: Readonly<Record<string, unknown>>, agents?: typeof google.agents): Promise<string> {
  using store = open(options, agents)
  return await store.value()
}

async function failure(
  options: Readonly<Record<string, unknown>>,
  agents?: typeof google.agents,
): Promise<PoolsmithError> {
  using store = open(options, agents)
  const error = await store.failure()
  const own = (JSON.parse(key) as { private_key: string }).private_key
  const secrets = [CLIENT_SECRET, PASSWORD, GITHUB, own, PERSON.refresh_token]
  assert.deepEqual(findSecrets([error, inspect(error, { depth: 8, showHidden: true })], secrets), [])
  return error
}

const azure = {
  vault_auth: 'azure',
  vault_azure_resource: AZURE_RESOURCE,
  tenant_id: entra.tenant,
  authority_host: entra.authorityHost,
  disable_instance_discovery: true,
  client_id: 'app',
  client_secret: CLIENT_SECRET,
}

describe('a login to Vault', () => {
  for (const method of ['userpass', 'ldap', 'radius']) {
    test(`by ${method} takes a user and a password`, async () => {
      const login = { vault_auth: method, vault_username: 'etl', vault_password: PASSWORD }
      assert.equal(await value(login), 'first')
      const refused = await failure({ ...login, vault_password: 'another-password' })
      assert.deepEqual([refused.code, refused.transient], ['STORE_REFUSED', false])
      assert.match(
        refused.message,
        new RegExp(`Vault .* could not log in by ${method} \\(HTTP 400\\).*invalid username`),
      )
    })
  }

  test('by github takes a personal access token, also from a file, and never the token of Vault', async () => {
    const path = join(folder.path, 'github')
    await writeFile(path, `${GITHUB}\n`, { mode: 0o600 })
    assert.equal(await value({ vault_auth: 'github', vault_token: GITHUB }), 'first')
    assert.equal(await value({ vault_auth: 'github', vault_token_file: path }), 'first')
    assert.match(
      (await failure({ vault_auth: 'github', vault_token: 'ghp_other' })).message,
      /log in by github.*Bad credentials/,
    )
    assert.throws(
      () => openStore('vault:secret/sales#password', { ...BASE, vault_auth: 'github' }, { VAULT_TOKEN: 'x' }),
      {
        message: /vault_token_file: vault_auth=github needs it/,
      },
    )
  })

  test('by azure takes a token of Entra for the resource, by the options of azure_ad', async () => {
    assert.equal(await value(azure), 'first')
    assert.equal(await value({ ...azure, vault_role: 'bound-vm', vault_azure_vm: 'vm-7' }), 'first')
    const other = await failure({ ...azure, vault_role: 'bound-vm', vault_azure_vm: 'vm-8' })
    assert.match(other.message, /log in by azure.*vm name not authorized/)
    const wrong = await failure({ ...azure, vault_azure_resource: 'https://other.example.com' })
    assert.match(wrong.message, /log in by azure \(HTTP 400\)/)
    const refused = await failure({ ...azure, client_secret: 'another-client-secret' })
    assert.equal(refused.code, 'CREDENTIAL_REFUSED')
    assert.match(refused.message, /login to Vault/)
  })

  test('by gcp takes a JWT that the key of a service account signs, and asks Google for nothing', async () => {
    google.asked.length = 0
    assert.equal(await value({ vault_auth: 'gcp', google_credentials_file: file }), 'first')
    assert.equal(await value({ vault_auth: 'gcp', google_credentials: key }), 'first')
    assert.deepEqual(google.asked, [])
    const logins = vault.asked.filter(({ path }) => path === 'auth/gcp/login')
    assert.equal(logins.length, 2)
    assert.match(
      (await failure({ vault_auth: 'gcp', vault_role: 'none', google_credentials: key })).message,
      /not found/,
    )
    const stranger = google.keyFile('stranger@sales-prod.iam.gserviceaccount.com')
    const other = await failure({ vault_auth: 'gcp', google_credentials: stranger })
    assert.match(other.message, /log in by gcp.*stranger.* is not authorized/)
  })

  test('by gcp takes a JWT that Google signs for an account that is impersonated', async () => {
    google.delegations.add(`${ACCOUNT}>${TARGET}`)
    const login = { vault_auth: 'gcp', google_credentials_file: file, google_impersonate: [TARGET] }
    assert.equal(await value(login, google.agents), 'first')
    google.delegations.clear()
    const refused = await failure(login, google.agents)
    assert.equal(refused.code, 'CREDENTIAL_REFUSED')
    assert.match(refused.hint ?? '', /Token Creator/)
    const person = JSON.stringify({ type: 'authorized_user', ...PERSON })
    assert.match(
      (await failure({ vault_auth: 'gcp', google_credentials: person }, google.agents)).hint ?? '',
      /google_impersonate/,
    )
  })

  test('by gcp takes the identity token of a machine of Google', async () => {
    process.env.GCE_METADATA_HOST = google.metadataHost
    process.env.METADATA_SERVER_DETECTION = 'assume-present'
    gcpMetadata.setGCPResidency(true)
    assert.equal(await value({ vault_auth: 'gcp' }), 'first')
  })

  test('by gcp follows the clock of Vault where it differs by an hour', async () => {
    for (const aheadMillis of [HOUR_MILLIS, -HOUR_MILLIS]) {
      vault.aheadMillis = aheadMillis
      assert.equal(await value({ vault_auth: 'gcp', google_credentials: key }), 'first')
    }
  })

  test('lists the options that are missing or contradict each other', () => {
    const problems = (options: Readonly<Record<string, unknown>>): readonly string[] => {
      try {
        open(options)[Symbol.dispose]()
        return []
      } catch (error) {
        return (error as ConfigError).problems.map(({ path }) => path)
      }
    }
    assert.deepEqual(problems({ vault_auth: 'azure', vault_role: null }), [
      'extra.vault_role',
      'extra.vault_azure_resource',
    ])
    assert.deepEqual(problems({ ...azure, azure_credential: 'password' }), ['extra.azure_credential'])
    assert.deepEqual(problems({ vault_auth: 'gcp', google_credentials: key, google_credentials_file: file }), [
      'extra.google_credentials',
    ])
    assert.deepEqual(problems({ vault_auth: 'radius' }), ['extra.vault_username', 'extra.vault_password'])
  })
})

test("every login of Airflow's backend takes the arguments of its class", async () => {
  const logins: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
    radius: { radius_host: 'radius', radius_secret: 'x', radius_port: 1812, username: 'etl', password: PASSWORD },
    ldap: { username: 'etl', password: PASSWORD },
    userpass: { username: 'etl', password: PASSWORD },
    github: { token: GITHUB },
    gcp: {
      gcp_keyfile_dict: JSON.parse(key),
      gcp_scopes: 'https://www.googleapis.com/auth/cloud-platform',
      role_id: 'etl',
    },
  }
  const all = [...Object.entries(logins), ['gcp', { gcp_key_path: file, role_id: 'etl' }] as const]
  for (const [auth_type, kwargs] of all) {
    const settings = { type: CLASS, url: vault.address, auth_type, ...kwargs } as const
    const found = await findConnection('sales', { stores: [settings], environment: {}, cwd: folder.path })
    assert.equal(found.host, 'backend', auth_type)
  }
})

test("the login azure of Airflow's backend needs a role, and names its own arguments", async () => {
  const find = (kwargs: Readonly<Record<string, unknown>>) => {
    const settings = { type: CLASS, url: vault.address, auth_type: 'azure', ...kwargs } as const
    return findConnection('sales', { stores: [settings], environment: {}, cwd: folder.path })
  }
  const wrong = { key_id: 'app', secret_id: CLIENT_SECRET }
  await assert.rejects(find(wrong), (error: unknown) => {
    assert.ok(error instanceof ConfigError)
    assert.deepEqual(error.problems.map(({ path }) => path).sort(), ['azure_resource', 'azure_tenant_id', 'role_id'])
    assert.deepEqual(findSecrets([error], [CLIENT_SECRET]), [])
    return true
  })
})

test('database users of Vault are asked for under the same logins', async () => {
  const database = { auth_method: 'vault', vault_database_role: 'app', strict_extras: true }
  const make = (extra: Readonly<Record<string, unknown>>) =>
    createEngine(
      { type: 'postgres', host: '127.0.0.1', port: 1, extra: { vault_addr: vault.address, ...database, ...extra } },
      { stores: { environment: {} } },
    )
  const role = { vault_role: 'etl' }
  for (const login of [
    azure,
    { vault_auth: 'gcp', google_credentials: key },
    { vault_auth: 'github', vault_token: GITHUB },
  ]) {
    await using db = await make({ ...role, ...login })
    // The policy of the login ends at the secrets.
    await assert.rejects(db.raw('select 1'), /could not give a database user by database\/creds\/app \(HTTP 403\)/)
  }
  await assert.rejects(make({ tenant_id: entra.tenant }), /tenant_id/)
  await assert.rejects(make({ ...role, ...azure, vault_azure_resource: null }), /vault_azure_resource/)
})
