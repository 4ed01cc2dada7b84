/** Every kind of store on its double, with one secret in each. */

import assert from 'node:assert/strict'
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import { after } from 'node:test'
import { inspect } from 'node:util'
import type { PoolsmithError } from '../../src/errors.ts'
import { Secret } from '../../src/secret.ts'
import { EncryptedFile } from '../../src/stores/encrypted/file.ts'
import { encryptedReader } from '../../src/stores/encrypted/reader.ts'
import { REGION, refuse, startAwsDouble } from './aws/stores-double.ts'
import { refuseByVault, startKeyVaultDouble } from './azure/key-vault-double.ts'
import { temporaryFolder } from './folder.ts'
import { refuseByGoogle, startGoogleDouble } from './google/double.ts'
import { failure, POD_TOKEN, startKubernetesApi } from './kubernetes-api.ts'
import { findSecrets } from './object-graph.ts'
import { openStore } from './open-store.ts'
import { startOpenIdProvider } from './openid-provider.ts'
import { startVaultDouble } from './vault/double.ts'
import { administer } from './vault/server.ts'

export const VALUE = 'pass/word+of:the store'
export const BYTES = Buffer.from([0xff, 0xfe, 0x00])
const SECRETS = [VALUE, 'secret-of-the-test-key', 'secret-of-the-app', POD_TOKEN]
const signal = AbortSignal.timeout(240_000)

const resources = new AsyncDisposableStack()
after(() => resources.disposeAsync())
const folder = resources.use(await temporaryFolder())
export const vault = resources.use(await startVaultDouble())
export const aws = resources.use(await startAwsDouble())
const kubernetes = resources.use(await startKubernetesApi(VALUE))
export const google = resources.use(await startGoogleDouble())
resources.defer(() => google.agents.https.destroy())
const provider = resources.use(await startOpenIdProvider({ app: { secret: 'secret-of-the-app' } }))
export const keyVault = resources.use(
  await startKeyVaultDouble(`${provider.authorityHost}/${provider.tenant}`, async (token, audience) => {
    return (await provider.verify(token, audience)).appid
  }),
)
resources.defer(() => keyVault.agents.https.destroy())
keyVault.rights.set('app', new Set(['get', 'list']))
google.readers.add('etl@sales-prod.iam.gserviceaccount.com')
const key = Buffer.alloc(32, 'key').toString('base64')
export const at = (name: string): string => join(folder.path, name)
await mkdir(at('mounted'))

export type Respond = (response: ServerResponse) => void

function answered(answer: Respond, response: ServerResponse): true {
  answer(response)
  return true
}

export interface Store {
  /** Without a field. */
  readonly reference: string
  /** A reference to one that is not there. */
  readonly missing: string
  /** How errors name it. */
  readonly place: RegExp
  readonly options?: Readonly<Record<string, unknown>>
  readonly environment?: Readonly<Record<string, string>>
  readonly agents?: typeof google.agents
  /** Writes one field, or bytes in place of a text where the store can hold them. */
  put(content: Readonly<Record<string, string>> | Buffer): unknown
}

export interface Remote extends Store {
  /** Of the store itself, in what it could not do. */
  readonly subject: RegExp
  readonly limit: Readonly<Record<string, unknown>>
  respond(answer: Respond | undefined): void
  readonly forbidden: Respond
  readonly throttled: Respond
  readonly expired: Respond
}

const LATER = { 'retry-after': '7' }
const json = (response: ServerResponse, status: number, body: object, headers = {}): void => {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
}
const text = (content: Readonly<Record<string, string>> | Buffer): string | Buffer =>
  Buffer.isBuffer(content) ? content : JSON.stringify(content)
const entries = (content: Readonly<Record<string, string>> | Buffer): [string, string | Buffer][] =>
  Buffer.isBuffer(content) ? [['password', content]] : Object.entries(content)
const awsStore = (reference: string): Omit<Remote, 'put' | 'place' | 'subject'> => ({
  reference,
  missing: reference.replace('sales', 'never'),
  options: {
    region: REGION,
    aws_endpoint_url: aws.url,
    aws_access_key_id: 'AKIATEST',
    aws_secret_access_key: 'secret-of-the-test-key',
  },
  limit: { credential_timeout: 1 },
  respond: (answer) => {
    aws.fault = answer && ((_action, response) => answered(answer, response))
  },
  forbidden: (response) => refuse(response, 'AccessDeniedException', `no, ${VALUE}`.replace(VALUE, 'not for you')),
  throttled: (response) => refuse(response, 'ThrottlingException', 'Rate exceeded', { headers: LATER }),
  expired: (response) => refuse(response, 'ExpiredTokenException', 'The security token is expired'),
})

export const REMOTE: Readonly<Record<string, Remote>> = {
  Vault: {
    reference: 'vault:secret/sales',
    missing: 'vault:secret/never',
    place: /The secret secret\/sales in Vault 127\.0\.0\.1:\d+/,
    subject: /Vault 127\.0\.0\.1:\d+ could not read secret\/sales/,
    options: { vault_addr: vault.address, vault_token: vault.rootToken, vault_kv_version: 2 },
    limit: { vault_timeout: 1 },
    respond: (answer) => {
      vault.fault =
        answer &&
        (({ path }, response) => (path.startsWith('auth/') || !answered(answer, response) ? undefined : 'handled'))
    },
    put: (content) =>
      // The key-value engine holds JSON: a list is no text either.
      administer(vault, 'POST', 'secret/data/sales', { data: Buffer.isBuffer(content) ? { password: [1] } : content }),
    forbidden: (response) => json(response, 403, { errors: ['permission denied'] }),
    throttled: (response) => json(response, 429, { errors: ['rate limit quota exceeded'] }, LATER),
    expired: (response) => json(response, 403, { errors: ['permission denied', 'invalid token'] }),
  },
  'Secrets Manager': {
    ...awsStore('aws-sm:prod/sales'),
    place: /The secret prod\/sales of AWS Secrets Manager/,
    subject: /AWS Secrets Manager in eu-west-1 could not read the secret prod\/sales/,
    put: (content) => aws.secrets.put('prod/sales', text(content)),
  },
  'the Parameter Store': {
    ...awsStore('aws-ssm:/prod/sales'),
    place: /The parameter \/prod\/sales of the AWS Parameter Store/,
    subject: /AWS Parameter Store in eu-west-1 could not read the parameter \/prod\/sales/,
    put: (content) => aws.parameters.put('/prod/sales', String(text(content))),
  },
  'Key Vault': {
    reference: 'azure-kv:sales/sales',
    missing: 'azure-kv:sales/never',
    place: /The secret sales\/sales of Azure Key Vault/,
    subject: /Key Vault sales\.vault\.azure\.net could not read the secret sales\/sales/,
    options: {
      tenant_id: provider.tenant,
      authority_host: provider.authorityHost,
      disable_instance_discovery: true,
      client_id: 'app',
      client_secret: 'secret-of-the-app',
    },
    agents: keyVault.agents,
    limit: { credential_timeout: 1 },
    respond: (answer) => {
      keyVault.fault = answer && ((_path, response) => answered(answer, response))
    },
    put: (content) => keyVault.put('sales', String(text(content))),
    forbidden: (response) => refuseByVault(response, 403, 'Forbidden', 'no', { inner: 'ForbiddenByRbac' }),
    throttled: (response) => refuseByVault(response, 429, 'Throttled', 'later', { headers: LATER }),
    expired: (response) => refuseByVault(response, 401, 'Unauthorized', 'the token has expired'),
  },
  'Google Secret Manager': {
    reference: 'gcp-sm:sales-prod/sales',
    missing: 'gcp-sm:sales-prod/never',
    place: /The secret sales-prod\/sales of Google Secret Manager/,
    subject: /Google Secret Manager could not read the secret sales-prod\/sales/,
    options: { google_credentials: google.keyFile('etl@sales-prod.iam.gserviceaccount.com') },
    agents: google.agents,
    limit: { credential_timeout: 1 },
    respond: (answer) => {
      google.fault = answer && ((response) => answered(answer, response))
    },
    put: (content) => google.secrets.put('projects/sales-prod/secrets/sales', text(content)),
    forbidden: (response) => refuseByGoogle(response, 403, 'PERMISSION_DENIED', 'denied'),
    throttled: (response) => refuseByGoogle(response, 429, 'RESOURCE_EXHAUSTED', 'Quota exceeded', LATER),
    expired: (response) => refuseByGoogle(response, 401, 'UNAUTHENTICATED', 'expired'),
  },
  'the API of Kubernetes': {
    reference: 'k8s:prod/sales',
    missing: 'k8s:prod/never',
    place: /The secret prod\/sales of Kubernetes/,
    subject: /The Kubernetes API 127\.0\.0\.1:\d+ could not give the secret prod\/sales/,
    options: kubernetes.extra,
    environment: kubernetes.environment,
    limit: { k8s_timeout: 1 },
    respond: (answer) => {
      kubernetes.respond = answer
    },
    put(content) {
      const data = entries(content).map(([name, value]) => [name, Buffer.from(value as string).toString('base64')])
      kubernetes.put('sales', { metadata: {}, type: 'Opaque', data: Object.fromEntries(data) })
    },
    forbidden: (response) => json(response, 403, failure(403, 'Forbidden', 'secrets is forbidden').body as object),
    throttled: (response) => json(response, 429, failure(429, 'TooManyRequests', 'later').body as object, LATER),
    expired: (response) => json(response, 401, failure(401, 'Unauthorized', 'Unauthorized').body as object),
  },
}

export async function writePrivate(name: string, content: string | Buffer): Promise<void> {
  await writeFile(at(name), content, { mode: 0o600 })
  await chmod(at(name), 0o600)
}

export const LOCAL: Readonly<Record<string, Store>> = {
  'a file': {
    reference: `file:${at('sales')}`,
    missing: `file:${at('never')}`,
    place: new RegExp(`The file ${at('sales')}`),
    put: (content) => writePrivate('sales', text(content)),
  },
  'a mounted folder': {
    reference: `k8s:${at('mounted')}`,
    missing: `k8s:${at('never')}`,
    place: new RegExp(`The mounted secret ${at('mounted')}`),
    put: (content) => Promise.all(entries(content).map(([name, value]) => writePrivate(`mounted/${name}`, value))),
  },
  'the environment': {
    reference: 'env:SALES',
    missing: 'env:NEVER',
    place: /The environment variable SALES/,
    environment: { SALES: JSON.stringify({ password: VALUE, other: 'x' }) },
    put: () => undefined,
  },
  'an encrypted file': {
    reference: 'encrypted:prod/sales',
    missing: 'encrypted:prod/never',
    place: new RegExp(`The secret prod/sales in the file of secrets ${at('secrets')}`),
    options: { secrets_file: at('secrets') },
    environment: { POOLSMITH_SECRETS_KEY: key },
    async put(content) {
      const path = at('secrets')
      const reader = encryptedReader(new EncryptedFile({ path, environment: { POOLSMITH_SECRETS_KEY: key } }))
      const fields = new Map(entries(content).map(([name, value]) => [name, new Secret(String(value))]))
      const replaces = await reader.read('prod/sales', signal).catch(() => undefined)
      await reader.write?.('prod/sales', fields, { replaces, signal })
    },
  },
}

/** The error of a reading, also of the field that is named; which holds no secret in any form. */
export async function failureOf(store: Store, field = 'password', more: object = {}): Promise<PoolsmithError> {
  const { reference, options, environment, agents } = store
  using opened = openStore(`${reference}#${field}`, { ...options, ...more }, environment, agents)
  const error: unknown = await opened.value().then(
    () => new Error('a secret was read'),
    (reason: unknown) => reason,
  )
  assert.deepEqual(findSecrets([error, inspect(error, { depth: 10, showHidden: true })], SECRETS), [])
  return error as PoolsmithError
}
