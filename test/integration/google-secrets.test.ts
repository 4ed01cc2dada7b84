/** Google Secret Manager, on a double of Google's services, with Google's own library beside ours. */

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import { after, beforeEach, describe, test } from 'node:test'
import { gcpMetadata, JWT } from 'google-auth-library'
import { ConfigError, type ErrorCode, type PoolsmithError } from '../../src/index.ts'
import { answerWithoutEnd } from '../support/endless.ts'
import { temporaryFolder } from '../support/folder.ts'
import { PERSON, refuseByGoogle, SUBJECT_TOKEN, startGoogleDouble } from '../support/google/double.ts'
import { findSecrets } from '../support/object-graph.ts'
import { type OpenedStore, openStore } from '../support/open-store.ts'

const ACCOUNT = 'etl@sales-prod.iam.gserviceaccount.com'
const TARGET = 'reader@sales-prod.iam.gserviceaccount.com'
const BETWEEN = 'between@sales-prod.iam.gserviceaccount.com'
const SECRETS = 'projects/sales-prod/secrets'

const resources = new AsyncDisposableStack()
after(() => resources.disposeAsync())
const folder = resources.use(await temporaryFolder())
const google = resources.use(await startGoogleDouble())
resources.defer(() => google.agents.https.destroy())

const key = google.keyFile(ACCOUNT)
const file = join(folder.path, 'key.json')
await writeFile(file, key, { mode: 0o600 })

beforeEach(() => {
  for (const name of Object.keys(process.env)) if (/^(GOOGLE_|GCE_|CLOUDSDK_)/.test(name)) delete process.env[name]
  process.env.CLOUDSDK_CONFIG = folder.path
  process.env.METADATA_SERVER_DETECTION = 'none'
  // Also on a machine of Google.
  gcpMetadata.setGCPResidency(false)
  Object.assign(google, { fault: undefined, tokenFault: undefined, lifeSeconds: 3600 })
  google.secrets.isDamaged = false
  google.readers.clear()
  google.readers.add(ACCOUNT)
  google.delegations.clear()
  google.asked.length = 0
})

function open(
  reference: string,
  options: Readonly<Record<string, unknown>> = { google_credentials_file: file },
  environment: Readonly<Record<string, string>> = {},
): OpenedStore {
  return openStore(reference, options, environment, google.agents)
}

async function json(name: string, content: object): Promise<string> {
  const path = join(folder.path, name)
  await writeFile(path, JSON.stringify(content), { mode: 0o600 })
  return path
}

describe('a secret of Google', () => {
  test("is read by project and name, a version, and its resource, as Google's own library reads it", async () => {
    google.secrets.put(`${SECRETS}/db`, 'one')
    google.secrets.put(`${SECRETS}/db`, 'two')
    const { client_email: email, private_key: secret } = JSON.parse(key) as Record<string, string>
    const scopes = 'https://www.googleapis.com/auth/cloud-platform'
    const client = new JWT({ email, key: secret, scopes, transporterOptions: { agent: google.agents.https } })
    for (const [reference, resource] of [
      ['gcp-sm:sales-prod/db', 'db/versions/latest'],
      ['gcp-sm:sales-prod/db/latest', 'db/versions/latest'],
      ['gcp-sm:sales-prod/db/1', 'db/versions/1'],
      [`gcp-sm:${SECRETS}/db`, 'db/versions/latest'],
      [`gcp-sm:${SECRETS}/db/versions/1`, 'db/versions/1'],
    ] as const) {
      const url = `https://secretmanager.googleapis.com/v1/${SECRETS}/${resource}:access`
      const { data } = await client.request<{ name: string; payload: { data: string } }>({ url })
      using store = open(reference)
      assert.equal(await store.value(), Buffer.from(data.payload.data, 'base64').toString('utf8'))
      assert.equal((await store.read()).version, data.name.split('/').at(-1))
    }
  })

  test('of a location is asked for there', async () => {
    google.secrets.put('projects/sales-prod/locations/europe-west3/secrets/near', 'one')
    using store = open('gcp-sm:projects/sales-prod/locations/europe-west3/secrets/near')
    assert.equal(await store.value(), 'one')
    assert.ok(google.asked.some(({ what }) => what.startsWith('GET secretmanager.europe-west3.rep.googleapis.com/')))
  })

  test('may be JSON with fields', async () => {
    google.secrets.put(`${SECRETS}/json`, '{"username":"etl","password":"one"}')
    using store = open('gcp-sm:sales-prod/json#password')
    assert.equal(await store.value(), 'one')
  })

  test('has a version before, which is tried unless a version is named', async () => {
    google.secrets.put(`${SECRETS}/turns`, 'first')
    using store = open('gcp-sm:sales-prod/turns')
    assert.deepEqual(await store.others(), [])
    google.secrets.put(`${SECRETS}/turns`, 'second')
    assert.deepEqual(await store.others(), ['first'])
    google.secrets.set(`${SECRETS}/turns`, 1, 'DISABLED')
    assert.deepEqual(await store.others(), [])
    using named = open('gcp-sm:sales-prod/turns/2')
    assert.deepEqual(await named.others(), [])
  })

  test('is refused where it is binary or was damaged on the way', async () => {
    google.secrets.put(`${SECRETS}/binary`, Buffer.from([0xff, 0xfe, 0]))
    google.secrets.put(`${SECRETS}/whole`, 'one')
    using binary = open('gcp-sm:sales-prod/binary')
    assert.equal((await binary.failure()).code, 'SECRET_UNUSABLE')
    google.secrets.isDamaged = true
    using damaged = open('gcp-sm:sales-prod/whole')
    const error = await damaged.failure()
    assert.deepEqual([error.code, error.transient], ['STORE_ANSWER_UNUSABLE', true])
    assert.match(error.message, /CRC32C/)
  })
})

describe('the identity', () => {
  const reads = async (options: object, environment = {}): Promise<string | undefined> => {
    google.secrets.put(`${SECRETS}/mine`, 'one')
    using store = open('gcp-sm:sales-prod/mine', { ...options }, environment)
    assert.equal(await store.value(), 'one')
    return google.asked.at(-1)?.identity
  }

  test('of a key file is used, from the option or GOOGLE_APPLICATION_CREDENTIALS', async () => {
    assert.equal(await reads({ google_credentials_file: file }), ACCOUNT)
    assert.equal(await reads({}, { GOOGLE_APPLICATION_CREDENTIALS: file }), ACCOUNT)
  })

  test('of a person is used', async () => {
    google.readers.add('ann@example.com')
    const path = await json('person.json', { type: 'authorized_user', ...PERSON })
    assert.equal(await reads({ google_credentials_file: path }), 'ann@example.com')
  })

  test('of a workload is exchanged for a token of Google', async () => {
    google.readers.add('workload')
    const token = join(folder.path, 'token')
    await writeFile(token, SUBJECT_TOKEN)
    const path = await json('workload.json', {
      type: 'external_account',
      audience: '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/provider',
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      token_url: 'https://sts.googleapis.com/v1/token',
      credential_source: { file: token },
    })
    assert.equal(await reads({ google_credentials_file: path }), 'workload')
  })

  test('of the machine is used where nothing is named', async () => {
    google.readers.add('machine')
    process.env.GCE_METADATA_HOST = google.metadataHost
    process.env.METADATA_SERVER_DETECTION = 'assume-present'
    assert.equal(await reads({}), 'machine')
  })

  test('is a service account that it may act as, by way of others', async () => {
    google.readers.add(TARGET)
    google.delegations.add(`${ACCOUNT}>${BETWEEN}`).add(`${BETWEEN}>${TARGET}`)
    const through = { google_credentials_file: file, google_impersonate: [BETWEEN, TARGET] }
    assert.equal(await reads(through), TARGET)
    using direct = open('gcp-sm:sales-prod/mine', { google_credentials_file: file, google_impersonate: [TARGET] })
    const error = await direct.failure()
    assert.equal(error.code, 'CREDENTIAL_REFUSED')
    assert.match(error.hint ?? '', /Service Account Token Creator/)
  })

  test('is the one that a file of gcloud impersonates', async () => {
    google.readers.add(TARGET)
    google.delegations.add(`ann@example.com>${TARGET}`)
    const url = `https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/${TARGET}:generateAccessToken`
    const path = await json('impersonated.json', {
      type: 'impersonated_service_account',
      delegates: [],
      service_account_impersonation_url: url,
      source_credentials: { type: 'authorized_user', ...PERSON },
    })
    assert.equal(await reads({ google_credentials_file: path }), TARGET)
  })

  test('obtains a token once, and another one when it was revoked', async () => {
    google.secrets.put(`${SECRETS}/often`, 'one')
    using store = open('gcp-sm:sales-prod/often')
    const grants = (): number => google.asked.filter(({ what }) => what.endsWith('/token')).length
    for (let count = 0; count < 3; count++) await store.value()
    assert.equal(grants(), 1)
    google.revoke()
    assert.equal(await store.value(), 'one')
    assert.equal(grants(), 2)
  })

  test('that is refused, unusable or not there is an error of the credential, and no other one is used', async () => {
    google.readers.add('machine')
    process.env.GCE_METADATA_HOST = google.metadataHost
    const failure = async (options: object, environment = {}): Promise<PoolsmithError> => {
      using store = open('gcp-sm:sales-prod/mine', { ...options }, environment)
      return await store.failure()
    }
    const foreign = await json('foreign.json', { ...JSON.parse(key), client_email: 'other@example.com' })
    assert.equal((await failure({ google_credentials_file: foreign })).code, 'CREDENTIAL_REFUSED')
    assert.equal((await failure({}, { GOOGLE_APPLICATION_CREDENTIALS: '/not/there' })).code, 'SECRET_MISSING')
    const kind = await json('kind.json', { type: 'something_new' })
    assert.equal((await failure({ google_credentials_file: kind })).code, 'CREDENTIAL_INVALID')
    const plain = await json('plain.json', { type: 'external_account', token_url: 'http://sts.example.com/' })
    assert.equal((await failure({ google_credentials_file: plain })).code, 'CREDENTIAL_INVALID')
    assert.ok(!google.asked.some(({ what }) => what.includes('metadata')))
    assert.equal((await failure({})).code, 'CREDENTIAL_MISSING')
  })
})

describe('a Secret Manager that gives no secret', () => {
  const failure = async (name: string, options: object = {}): Promise<PoolsmithError> => {
    using store = open(`gcp-sm:sales-prod/${name}`, { google_credentials_file: file, ...options })
    return await store.failure()
  }

  test('missing, disabled, destroyed and not allowed are told apart', async () => {
    google.secrets.put(`${SECRETS}/off`, 'one')
    google.secrets.set(`${SECRETS}/off`, 1, 'DISABLED')
    google.secrets.put(`${SECRETS}/gone`, 'one')
    google.secrets.set(`${SECRETS}/gone`, 1, 'DESTROYED')
    assert.equal((await failure('never')).code, 'SECRET_MISSING')
    assert.equal((await failure('off/7')).code, 'SECRET_MISSING')
    assert.equal((await failure('off')).code, 'SECRET_DELETED')
    assert.equal((await failure('gone')).code, 'SECRET_DELETED')
    google.readers.clear()
    const refused = await failure('off')
    assert.equal(refused.code, 'STORE_REFUSED')
    assert.match(refused.hint ?? '', /Secret Manager Secret Accessor/)
  })

  const ANSWERS: readonly (readonly [string, ErrorCode, boolean, (response: ServerResponse) => void])[] = [
    ['429', 'STORE_FAILED', true, (response) => refuseByGoogle(response, 429, 'RESOURCE_EXHAUSTED', 'Quota exceeded')],
    ['503', 'STORE_FAILED', true, (response) => response.writeHead(503).end('<html>')],
    ['401', 'STORE_REFUSED', false, (response) => refuseByGoogle(response, 401, 'UNAUTHENTICATED', 'no')],
    [
      'a KMS key that is disabled',
      'STORE_KEY_UNUSABLE',
      false,
      (response) => refuseByGoogle(response, 400, 'FAILED_PRECONDITION', 'The KMS key is not enabled.'),
    ],
    [
      'an API that is disabled',
      'STORE_REFUSED',
      false,
      (response) =>
        refuseByGoogle(
          response,
          403,
          'PERMISSION_DENIED',
          'Secret Manager API has not been used in project 1 before or it is disabled.',
        ),
    ],
    ['400', 'STORE_FAILED', false, (response) => refuseByGoogle(response, 400, 'INVALID_ARGUMENT', 'bad')],
    ['HTML', 'STORE_ANSWER_UNUSABLE', false, (response) => response.end('<html>Sign in</html>')],
    ['HTML with a refusal', 'STORE_ANSWER_UNUSABLE', false, (response) => response.writeHead(403).end('<html>')],
    ['JSON without a value', 'STORE_ANSWER_UNUSABLE', false, (response) => response.end('{}')],
    [
      'a redirection',
      'STORE_REDIRECTED',
      false,
      (response) => response.writeHead(307, { location: 'http://other/' }).end(),
    ],
    ['an answer that does not end', 'STORE_ANSWER_UNUSABLE', false, (response) => void answerWithoutEnd(response)],
    ['a connection that breaks', 'STORE_UNREACHABLE', true, (response) => response.destroy()],
  ]
  for (const [what, code, isTransient, respond] of ANSWERS) {
    test(`${what} is ${code}`, async () => {
      google.fault = (response) => {
        respond(response)
        return true
      }
      const error = await failure('any')
      assert.deepEqual([error.code, error.transient], [code, isTransient], error.message)
      assert.match(error.message, /Google Secret Manager/)
      assert.doesNotMatch(error.message, /HTTP.*HTTP/)
    })
  }

  test('the wait that Google asks for is kept', async () => {
    google.fault = (response) => {
      refuseByGoogle(response, 429, 'RESOURCE_EXHAUSTED', 'Quota exceeded', { 'retry-after': '7' })
      return true
    }
    assert.equal((await failure('any')).details.retryAfterMillis, 7000)
  })

  test('a service that does not answer fails by credential_timeout, and at once by the signal', async () => {
    using quick = open('gcp-sm:sales-prod/quick', { google_credentials_file: file, credential_timeout: 0.5 })
    google.fault = () => true
    let error = await quick.failure()
    // A busy machine may not obtain the token within the limit either.
    while (error.code.startsWith('CREDENTIAL_')) error = await quick.failure()
    assert.equal(error.code, 'STORE_TIMEOUT')
    for (const silent of ['fault', 'tokenFault'] as const) {
      using slow = open('gcp-sm:sales-prod/any', { google_credentials_file: file, credential_timeout: 600 })
      const reason = new Error('given up')
      const controller = new AbortController()
      google.fault = undefined
      google[silent] = () => {
        controller.abort(reason)
        return true
      }
      await assert.rejects(slow.read(controller.signal), reason)
    }
  })

  test('no error holds a key, a token or a secret that Google repeats', async () => {
    const { private_key: secret = '' } = JSON.parse(key) as Record<string, string>
    let token = ''
    google.fault = (response) => {
      token = response.req.headers.authorization?.slice('Bearer '.length) ?? ''
      refuseByGoogle(response, 400, 'INVALID_ARGUMENT', `The words ${token} are repeated`)
      return true
    }
    assert.deepEqual(findSecrets([await failure('any')], [token, secret]), [])
    assert.ok(token.startsWith('ya29.'))
    google.tokenFault = (response) => {
      response.writeHead(400, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ error: 'invalid_grant', error_description: secret }))
      return true
    }
    assert.deepEqual(findSecrets([await failure('any')], [secret]), [])
  })
})

describe('the options', () => {
  test('an address without TLS is refused', () => {
    const options = { google_endpoint_url: 'http://psc.example.com' }
    assert.throws(() => openStore('gcp-sm:sales-prod/x', options), ConfigError)
  })

  test('names that Google does not allow are no references', () => {
    for (const bad of [
      'gcp-sm:db',
      'gcp-sm:Sales/db',
      'gcp-sm:sales-prod/a b',
      'gcp-sm:sales-prod/db/-1',
      'gcp-sm:sales-prod/a/b/c',
    ]) {
      assert.throws(() => openStore(bad, {}), /no reference/, bad)
    }
  })
})
