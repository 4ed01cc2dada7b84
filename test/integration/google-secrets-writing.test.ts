import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after } from 'node:test'
import { parseFields } from '../../src/connections/fields.ts'
import { googleSecretReader } from '../../src/stores/google/secret-manager.ts'
import { googleFields, googleLoginFields } from '../../src/strategies/google/fields.ts'
import { temporaryFolder } from '../support/folder.ts'
import { startGoogleDouble } from '../support/google/double.ts'
import { writingSuite } from '../support/writing-suite.ts'

const ACCOUNT = 'etl@sales-prod.iam.gserviceaccount.com'

const resources = new AsyncDisposableStack()
after(() => resources.disposeAsync())
const folder = resources.use(await temporaryFolder())
const google = resources.use(await startGoogleDouble())
resources.defer(() => google.agents.https.destroy())
google.readers.add(ACCOUNT)
const file = join(folder.path, 'key.json')
await writeFile(file, google.keyFile(ACCOUNT), { mode: 0o600 })
const { values: options } = parseFields({ ...googleFields, ...googleLoginFields }, { google_credentials_file: file })

writingSuite(
  'Google Secret Manager',
  async () => googleSecretReader((path) => `The secret ${path}`, options, { environment: {}, agents: google.agents }),
  (name) => `sales-prod/${name}`,
)
