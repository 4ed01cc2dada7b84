/**
 * Every secret of the stores, searched for in all that a program leaves: its output, its files, its errors and events, and
 * every object that can be reached from them, in plain, Base64, URL and hexadecimal forms.
 */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { Secret } from '../../src/secret.ts'
import { EncryptedFile } from '../../src/stores/encrypted/file.ts'
import { encryptedReader } from '../../src/stores/encrypted/reader.ts'
import { REGION, startAwsDouble } from '../support/aws/stores-double.ts'
import { startKeyVaultDouble } from '../support/azure/key-vault-double.ts'
import { poolsmith } from '../support/cli-in-process.ts'
import { temporaryFolder } from '../support/folder.ts'
import { startGoogleDouble } from '../support/google/double.ts'
import { POD_TOKEN, startKubernetesApi } from '../support/kubernetes-api.ts'
import { findSecrets } from '../support/object-graph.ts'
import { startOpenIdProvider } from '../support/openid-provider.ts'
import { startPostgres } from '../support/postgres.ts'
import { startProxyDouble } from '../support/proxy-double.ts'
import { AWS_KEYS } from '../support/vault/aws-logins.ts'
import { startVaultDouble } from '../support/vault/double.ts'
import { AZURE_RESOURCE } from '../support/vault/identity-logins.ts'
import { administer } from '../support/vault/server.ts'
import { appRole } from '../support/vault/suite.ts'

const signal = AbortSignal.timeout(240_000)

const ACCOUNT = 'etl@sales-prod.iam.gserviceaccount.com'
const APP_SECRET = 'secret-of-the-application'
const USER_PASSWORD = 'password-of-the/user of Vault'
const GITHUB_TOKEN = 'ghp_0123456789-of-the-test'

interface Case {
  readonly reference: string
  readonly extra?: Readonly<Record<string, unknown>>
  readonly environment?: Readonly<Record<string, string>>
  /** Of the store itself: tokens, keys. */
  readonly secrets?: readonly string[]
}

/** One secret in each store, with its own password, which is that of the role `user_<number>`. */
async function startStores() {
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await temporaryFolder())
  const vault = stack.use(await startVaultDouble())
  const aws = stack.use(await startAwsDouble())
  const write = async (name: string, content: string): Promise<string> => {
    const path = join(folder.path, name)
    await writeFile(path, content, { mode: 0o600 })
    return path
  }
  const passwords: string[] = []
  const next = (): string => {
    const password = `pass/word+${passwords.length}:of the store`
    passwords.push(password)
    return password
  }
  const cases: Case[] = []
  cases.push({ reference: `file:${await write('password.txt', next())}` })
  cases.push({ reference: 'env:SALES_PASSWORD', environment: { SALES_PASSWORD: next() } })
  await mkdir(join(folder.path, 'mounted'))
  await write('mounted/password', next())
  cases.push({ reference: `k8s:${join(folder.path, 'mounted')}#password` })
  const api = stack.use(await startKubernetesApi(next()))
  cases.push({
    reference: 'k8s:prod/sales#password',
    extra: api.extra,
    environment: api.environment,
    secrets: [POD_TOKEN],
  })
  const key = Buffer.alloc(32, 'the key of the file').toString('base64')
  const path = join(folder.path, 'secrets')
  const encrypted = encryptedReader(new EncryptedFile({ path, environment: { POOLSMITH_SECRETS_KEY: key } }))
  await encrypted.write?.('sales', new Map([['password', new Secret(next())]]), { replaces: undefined, signal })
  cases.push({
    reference: 'encrypted:sales#password',
    extra: { secrets_file: path },
    environment: { POOLSMITH_SECRETS_KEY: key },
    secrets: [key, Buffer.from(key, 'base64').toString('latin1')],
  })
  const inVault = async (name: string, extra: Readonly<Record<string, unknown>>, secrets: readonly string[]) => {
    await administer(vault, 'POST', `secret/data/allowed/${name}`, { data: { password: next() } })
    const reference = `vault:secret/allowed/${name}#password`
    cases.push({ reference, extra: { vault_addr: vault.address, vault_kv_version: 2, ...extra }, secrets })
  }
  const { roleId, secretId } = await appRole(vault, 'reader')
  const { auth } = (await administer(vault, 'POST', 'auth/token/create', { policies: ['reader'] })) as {
    auth: { client_token: string }
  }
  await inVault('token', { vault_token: auth.client_token }, [auth.client_token])
  const { secret_id: id } = await secretId()
  await inVault('approle', { vault_auth: 'approle', vault_role_id: roleId, vault_secret_id: id }, [id])
  const { token: wrapping } = await secretId({ 'x-vault-wrap-ttl': '60s' })
  const file = await write('wrapped', wrapping)
  const wrapped = { vault_secret_id_file: file, vault_secret_id_wrapped: true }
  await inVault('wrapped', { vault_auth: 'approle', vault_role_id: roleId, ...wrapped }, [wrapping])
  await administer(vault, 'POST', 'auth/aws/role/etl', { token_policies: ['reader'] })
  const { accessKeyId, secretAccessKey, sessionToken } = AWS_KEYS
  const keys = {
    vault_aws_access_key_id: accessKeyId,
    vault_aws_secret_access_key: secretAccessKey,
    vault_aws_session_token: sessionToken,
  }
  await inVault('aws', { vault_auth: 'aws', vault_role: 'etl', ...keys }, [secretAccessKey, sessionToken])
  aws.secrets.put('prod/sales', JSON.stringify({ password: next() }))
  const [awsId = '', awsKey] = Object.entries(aws.keys)[0] ?? []
  cases.push({
    reference: 'aws-sm:prod/sales#password',
    extra: {
      aws_access_key_id: awsId,
      aws_secret_access_key: awsKey?.secret,
      aws_endpoint_url: aws.url,
      region: REGION,
    },
    secrets: [awsKey?.secret ?? ''],
  })
  const awsLogin = cases.at(-1)
  aws.parameters.put('/prod/sales', next())
  cases.push({ ...awsLogin, reference: 'aws-ssm:/prod/sales' })

  const google = stack.use(await startGoogleDouble())
  const googleKey = google.keyFile(ACCOUNT)
  const keyFile = await write('key.json', googleKey)
  google.readers.add(ACCOUNT)
  google.secrets.put('projects/sales-prod/secrets/sales', next())
  const provider = stack.use(await startOpenIdProvider({ app: { secret: APP_SECRET } }))
  const entraTokens = new Set<string>()
  const keyVault = stack.use(
    await startKeyVaultDouble(`${provider.authorityHost}/${provider.tenant}`, async (token, audience) => {
      entraTokens.add(token)
      return (await provider.verify(token, audience)).appid
    }),
  )
  keyVault.rights.set('app', new Set(['get', 'list']))
  keyVault.put('sales', next())
  const hosts = {
    'secretmanager.googleapis.com': `127.0.0.1:${google.port}`,
    'oauth2.googleapis.com': `127.0.0.1:${google.port}`,
    'sales.vault.azure.net': `127.0.0.1:${keyVault.port}`,
  }
  const proxy = `http://127.0.0.1:${stack.use(await startProxyDouble({ hosts })).port}`
  cases.push({
    reference: 'gcp-sm:sales-prod/sales',
    extra: { google_credentials_file: keyFile, proxy },
    secrets: [(JSON.parse(googleKey) as { private_key: string }).private_key],
  })
  cases.push({
    reference: 'azure-kv:sales/sales',
    extra: {
      tenant_id: provider.tenant,
      authority_host: provider.authorityHost,
      disable_instance_discovery: true,
      client_id: 'app',
      client_secret: APP_SECRET,
      proxy,
    },
    secrets: [APP_SECRET],
  })
  const privateKey = (JSON.parse(googleKey) as { private_key: string }).private_key
  Object.assign(vault.identities, {
    azure: async (token: string, resource: string) => (await provider.verify(token, resource)).appid,
    google: (jwt: string) => google.accountOf(jwt),
  })
  vault.identities.passwords.set('userpass/etl', USER_PASSWORD)
  vault.identities.github.set(GITHUB_TOKEN, 'etl')
  const role = { token_policies: ['reader'], bound_service_accounts: [ACCOUNT] }
  await administer(vault, 'POST', 'auth/gcp/role/etl', role)
  const byUser = { vault_username: 'etl', vault_password: USER_PASSWORD }
  await inVault('userpass', { vault_auth: 'userpass', ...byUser }, [USER_PASSWORD])
  await inVault('github', { vault_auth: 'github', vault_token: GITHUB_TOKEN }, [GITHUB_TOKEN])
  await inVault('gcp', { vault_auth: 'gcp', vault_role: 'etl', google_credentials: googleKey }, [privateKey])
  const { extra: entra } = cases.find(({ reference }) => reference.startsWith('azure-kv:')) ?? {}
  const byEntra = { vault_auth: 'azure', vault_role: 'etl', vault_azure_resource: AZURE_RESOURCE }
  await inVault('azure', { ...entra, ...byEntra }, [APP_SECRET])
  const other = { type: 'postgres', host: 'h', password: next() }
  const environment = { POOLSMITH_CONN_OTHER: JSON.stringify(other) }
  cases.push({ reference: 'store:other#password', environment })
  const authorities = await write('authorities.pem', [google.ca, provider.ca, keyVault.ca].join('\n'))
  // The tokens that logins gave are secrets as well.
  const vaultTokens = (): readonly string[] =>
    vault.asked.flatMap(({ headers }) => [headers['x-vault-token'] ?? []].flat()).filter((token) => token !== 'root')
  const jwts = (): readonly string[] =>
    vault.asked.flatMap(({ body }) => (typeof body.jwt === 'string' ? body.jwt : []))
  const tokens = (): readonly string[] => [...vaultTokens(), ...jwts(), ...google.tokens.keys(), ...entraTokens]
  const owned = stack.move()
  return { cases, passwords, tokens, authorities, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

const CANARY = 'this text has to be found'

/** Uses each connection so that it works, is refused by the database, and lacks its field; and shows all that it can get hold of. */
const PROGRAM = `
import { subscribe } from 'node:diagnostics_channel'
import { text } from 'node:stream/consumers'
import { inspect } from 'node:util'
import { createEngine } from 'poolsmith'
import { findSecrets } from ${JSON.stringify(join(import.meta.dirname, '../support/object-graph.ts'))}

const { cases, port, secrets, names, canary } = JSON.parse(await text(process.stdin))
const reached = []
const show = (...values) => {
  for (const value of values) {
    reached.push(value)
    console.log(inspect(value, { depth: 12, showHidden: true, getters: true }), String(value))
    if (value instanceof Error) console.error(value, value.stack, JSON.stringify(value))
  }
}
process.on('warning', show)
for (const name of ['connect', 'connect:phase', 'query', 'acquire'])
  for (const part of ['start', 'end', 'asyncStart', 'asyncEnd', 'error'])
    subscribe('tracing:poolsmith:' + name + ':' + part, show)
subscribe('poolsmith:audit', show)
console.log(Buffer.from(canary).toString('base64'))
let worked = 0
for (const [index, { reference, extra, environment }] of cases.entries()) {
  for (const [login, at] of [['user_' + index, reference], ['postgres', reference], ['user_' + index, reference.replace(/#.*|$/, '#none')]]) {
    const on = Object.fromEntries(names.map((name) => [name, (facts) => show({ name, ...facts })]))
    const record = { type: 'postgres', host: '127.0.0.1', port, login, database: 'postgres', extra: { ...extra, password_from: at } }
    try {
      const db = await createEngine(record, { on, pool_timeout: 20, stores: { environment } })
      try {
        await db.raw('select 1')
        worked++
      } catch (error) {
        show(error)
      }
      show(db.connection, db.pool.stats())
      await db.destroy()
    } catch (error) {
      show(error)
    }
  }
}
const found = findSecrets(reached, secrets)
console.log('found: ' + JSON.stringify(found) + ', worked: ' + worked)
`

test('no secret of a store is in the output, the files, the errors or the reachable objects of a program', {
  timeout: 240_000,
}, async () => {
  await using stores = await startStores()
  const { cases, passwords, authorities } = stores
  await using server = await startPostgres()
  await server.sql(passwords.map((word, index) => `create role user_${index} login password '${word}'`).join(';'))
  await using home = await temporaryFolder()
  const known = [...passwords, ...cases.flatMap(({ secrets = [] }) => secrets)]
  const names = ['config:warning', 'security:warning', 'debug:refusal', 'credential:refreshed', 'credential:failed']
  const more = ['secret:stale', 'connection:opened', 'connection:failed', 'connection:closed', 'pool:acquired']
  const child = spawn(
    process.execPath,
    [`--import=${join(import.meta.dirname, '../support/self-import.ts')}`, '--input-type=module', '-e', PROGRAM],
    {
      cwd: home.path,
      env: { PATH: process.env.PATH, HOME: home.path, TMPDIR: home.path, NODE_EXTRA_CA_CERTS: authorities },
      signal,
    },
  )
  child.stdin.end(
    JSON.stringify({ cases, port: server.port, secrets: known, names: [...names, ...more], canary: CANARY }),
  )
  const [out, log] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  const outputs: string[] = [out, log]
  for (const { reference, extra, environment = {} } of cases) {
    const record = {
      conn_type: 'postgres',
      host: '127.0.0.1',
      port: 1,
      login: 'etl',
      extra: { ...extra, password_from: reference },
    }
    const configured = { ...environment, POOLSMITH_CONN_SALES: JSON.stringify(record) }
    for (const args of [['connections'], ['connections', '--json'], ['check', 'sales'], ['check', 'sales', '--json']]) {
      const finished = await poolsmith(args, configured)
      outputs.push(finished.out, finished.log)
    }
  }
  const all = [...known, ...stores.tokens()]
  const files = await readdir(home.path, { recursive: true, withFileTypes: true })
  const contents = await Promise.all(
    files.filter((entry) => entry.isFile()).map((entry) => readFile(join(entry.parentPath, entry.name))),
  )
  assert.match(out, new RegExp(`found: \\[\\], worked: ${cases.length}\\n`), `${out.slice(-3000)}${log.slice(-3000)}`)
  assert.deepEqual(findSecrets([outputs, contents, files.map(({ name }) => name)], all), [])
  // The search would find them, and there was something to search.
  assert.equal(findSecrets([out], [CANARY]).length, 1)
  assert.match(out, /credential:refreshed/)
  assert.match(out, /LOGIN_REFUSED/)
  assert.match(out, /SECRET_/)
  assert.ok(outputs.some((output) => output.includes('password_from')))
  assert.ok(new Set(stores.tokens()).size >= 6)
})
