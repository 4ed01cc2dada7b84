/** Airflow's backend for Google Secret Manager, with its layout and arguments, on a double of the service. */

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, beforeEach, describe, test } from 'node:test'
import { gcpMetadata } from 'google-auth-library'
import { failureOf, openSettings, textOf } from '../support/airflow-store.ts'
import { temporaryFolder } from '../support/folder.ts'
import { startGoogleDouble } from '../support/google/double.ts'

const SECRET = 'a-secret-that-nobody-may-see'
const ACCOUNT = 'etl@sales-prod.iam.gserviceaccount.com'

const resources = new AsyncDisposableStack()
after(() => resources.disposeAsync())
const folder = resources.use(await temporaryFolder())
const google = resources.use(await startGoogleDouble())
resources.defer(() => google.agents.https.destroy())
const keyFile = join(folder.path, 'key.json')
const key = google.keyFile(ACCOUNT)
await writeFile(keyFile, key, { mode: 0o600 })
google.readers.add(ACCOUNT)

beforeEach(() => {
  for (const name of Object.keys(process.env)) if (/^(GOOGLE_|GCE_|CLOUDSDK_)/.test(name)) delete process.env[name]
  process.env.CLOUDSDK_CONFIG = folder.path
  process.env.METADATA_SERVER_DETECTION = 'none'
  // Also on a machine of Google.
  gcpMetadata.setGCPResidency(false)
})

const ask = { signal: AbortSignal.timeout(120_000) }

describe('Secret Manager of Google', () => {
  test('_ stays, and the project is that of the key file', async () => {
    google.secrets.put('projects/sales-prod/secrets/airflow-connections-my_sales', 'postgres://h/sales')
    const settings = { type: 'gcp-sm', gcp_key_path: keyFile }
    const store = await openSettings(settings, { agents: google.agents })
    assert.equal(await textOf(store.getConnection?.('my_sales', ask)), 'postgres://h/sales')
    assert.equal(await store.getConnection?.('never', ask), undefined)
    google.readers.clear()
    const refused = await failureOf(store.getConnection?.('my_sales', ask))
    assert.equal(refused.code, 'STORE_REFUSED')
    google.readers.add(ACCOUNT)
  })

  test('a key may be an argument itself, as an object or a text, and so may a federation', async () => {
    google.secrets.put('projects/sales-prod/secrets/airflow-connections-dict', 'postgres://h/sales')
    const gcp_scopes = 'https://www.googleapis.com/auth/cloud-platform'
    for (const gcp_keyfile_dict of [JSON.parse(key), key]) {
      const store = await openSettings({ type: 'gcp-sm', gcp_keyfile_dict, gcp_scopes }, { agents: google.agents })
      assert.equal(await textOf(store.getConnection?.('dict', ask)), 'postgres://h/sales')
    }
    const byContent = { type: 'gcp-sm', gcp_credential_config_file: key }
    const store = await openSettings(byContent, { agents: google.agents })
    assert.equal(await textOf(store.getConnection?.('dict', ask)), 'postgres://h/sales')
  })

  test('a prefix that no name of a secret can have is refused, unless its look-ups are off', async () => {
    const of = (prefixes: Readonly<Record<string, unknown>>) =>
      openSettings({ type: 'gcp-sm', gcp_key_path: keyFile, ...prefixes }, { agents: google.agents })
    assert.match((await failureOf(of({ variables_prefix: 'a.b' }))).message, /variables_prefix: expected letters/)
    assert.match((await failureOf(of({ sep: '/' }))).message, /connections_prefix: expected letters/)
    const store = await of({ connections_prefix: null, sep: '_' })
    assert.equal(await store.getConnection?.('sales', ask), undefined)
  })

  test('a key that is none is named by its argument, and is not repeated', async () => {
    const settings = { type: 'gcp-sm', project_id: 'sales-prod', gcp_keyfile_dict: { type: 'x', private_key: SECRET } }
    const store = await openSettings(settings, { agents: google.agents })
    const error = await failureOf(store.getConnection?.('sales', ask))
    assert.equal(error.code, 'CREDENTIAL_INVALID')
    assert.match(error.message, /google_credentials is of a type that is not known/)
    assert.ok(!JSON.stringify(error).includes(SECRET))
    assert.match((await failureOf(openSettings({ type: 'gcp-sm' }))).message, /project_id: missing/)
    const twice = { type: 'gcp-sm', gcp_key_path: keyFile, gcp_keyfile_dict: key }
    assert.match((await failureOf(openSettings(twice))).message, /gcp_keyfile_dict: .*keep one of them/)
  })
})
