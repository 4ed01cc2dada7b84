/** Airflow's own backends for Key Vault, Google Secret Manager and this machine, beside ours. */

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { startKeyVaultDouble } from '../../support/azure/key-vault-double.ts'
import { temporaryFolder } from '../../support/folder.ts'
import { startGoogleDouble } from '../../support/google/double.ts'
import { startOpenIdProvider } from '../../support/openid-provider.ts'
import { startProxyDouble } from '../../support/proxy-double.ts'
import {
  type Asking,
  askAirflow,
  askOurs,
  compare,
  compareFailures,
  compareWritten,
  connection,
  type Question,
} from './airflow.ts'

const KEY_VAULT = 'airflow.providers.microsoft.azure.secrets.key_vault.AzureKeyVaultBackend'
const GOOGLE = 'airflow.providers.google.cloud.secrets.secret_manager.CloudSecretManagerBackend'
const FILES = 'airflow.secrets.local_filesystem.LocalFilesystemBackend'

const URI = 'postgres://etl:p%40ss@Db:5433/sales?sslmode=require'
const PARTS = JSON.stringify({
  conn_type: 'postgres',
  host: 'Db',
  login: 'etl',
  password: 'p@ss',
  schema: 'sales',
  port: 5433,
  extra: { sslmode: 'require', connect_timeout: 3 },
})

const stack = new AsyncDisposableStack()
after(() => stack.disposeAsync())
const { path: home } = stack.use(await temporaryFolder())

/** Variables that lead a program in Python to doubles by the names of the services. */
async function ledTo(
  owner: AsyncDisposableStack,
  hosts: Readonly<Record<string, number>>,
  authorities: readonly string[],
): Promise<Readonly<Record<string, string>>> {
  const places = Object.entries(hosts).map(([name, port]) => [name, `127.0.0.1:${port}`] as const)
  const proxy = owner.use(await startProxyDouble({ hosts: Object.fromEntries(places) }))
  const bundle = join(home, `${proxy.port}.pem`)
  await writeFile(bundle, authorities.join('\n'))
  return { HTTPS_PROXY: `http://127.0.0.1:${proxy.port}`, REQUESTS_CA_BUNDLE: bundle }
}

describe('AzureKeyVaultBackend on a double that challenges and verifies tokens', () => {
  const SECRET = 'secret-of-the-application'
  const AUTHORITY = 'login.microsoftonline.com'

  async function start() {
    await using owner = new AsyncDisposableStack()
    const provider = owner.use(await startOpenIdProvider({ app: { secret: SECRET } }))
    const vault = owner.use(
      await startKeyVaultDouble(
        `${provider.authorityHost}/${provider.tenant}`,
        async (token, audience) => (await provider.verify(token, audience)).appid,
      ),
    )
    owner.defer(() => vault.agents.https.destroy())
    vault.rights.set('app', new Set(['get', 'list']))
    const login = { tenant_id: provider.tenant, client_id: 'app', client_secret: SECRET }
    const base = { vault_url: 'https://sales.vault.azure.net', ...login }
    const asking: Asking = {
      home,
      theirs: await ledTo(
        owner,
        { 'sales.vault.azure.net': vault.port, [AUTHORITY]: Number(new URL(provider.authorityHost).port) },
        [vault.ca, provider.ca],
      ),
      ours: {
        agents: vault.agents,
        kwargs: { authority_host: provider.authorityHost, disable_instance_discovery: true },
      },
    }
    const of = (kwargs: Readonly<Record<string, unknown>>, id: string): Question =>
      connection(KEY_VAULT, { ...base, ...kwargs }, id)
    const owned = owner.move()
    return { vault, base, asking, of, [Symbol.asyncDispose]: () => owned.disposeAsync() }
  }

  test('gives the same connections, variables and configuration for the same arguments', async () => {
    await using started = await start()
    const { vault, base, asking, of } = started
    vault.put('airflow-connections-uri', URI)
    vault.put('airflow-connections-my-parts', PARTS)
    vault.put('airflow-connections-changed', 'postgres://h/old')
    vault.put('airflow-connections-changed', 'postgres://h/new')
    vault.put('airflow-connections-gone', 'postgres://h/gone')
    vault.delete('airflow-connections-gone')
    vault.put('mine-sales', 'postgres://h/mine')
    vault.put('bare', 'postgres://h/bare')
    vault.put('airflow-variables-bucket', '  bronze ')
    vault.put('airflow-config-sql', 'sqlite://')
    await compare(
      {
        'a URI': of({}, 'uri'),
        'JSON, and an id whose _ becomes the separator': of({}, 'my_parts'),
        'the newest version': of({}, 'changed'),
        'a prefix that ends in the separator': of({ connections_prefix: 'mine-' }, 'sales'),
        'an empty prefix': of({ connections_prefix: '' }, 'bare'),
        'no look-ups': of({ connections_prefix: null }, 'uri'),
        'a secret that never was': of({}, 'never'),
        'a secret that was deleted': of({}, 'gone'),
        'a name that no secret can have': of({}, 'a.b'),
        'a separator that no name can have': of({ sep: '.' }, 'uri'),
        'a variable': { class: KEY_VAULT, kwargs: base, kind: 'variable', id: 'bucket' },
        'a variable that never was': { class: KEY_VAULT, kwargs: base, kind: 'variable', id: 'never' },
        configuration: { class: KEY_VAULT, kwargs: base, kind: 'config', id: 'sql' },
      },
      asking,
    )
  })

  test('fails where Airflow fails', async () => {
    await using started = await start()
    const { vault, asking, of } = started
    vault.put('airflow-connections-off', 'postgres://h')
    vault.disable('airflow-connections-off')
    vault.put('airflow-connections-bad', '{"conn_type": "postgres", "unknown": 1}')
    await compareFailures(
      [
        [of({}, 'off'), { error: 'HttpResponseError' }, 'SECRET_DELETED'],
        [of({}, 'bad'), { error: 'TypeError' }, 'CONFIG_INVALID'],
        [of({ client_secret: 'another' }, 'uri'), { error: 'ClientAuthenticationError' }, 'CREDENTIAL_REFUSED'],
        [of({ vault_url: '' }, 'uri'), { error: 'ValueError' }, 'CONFIG_INVALID'],
      ],
      asking,
    )
    vault.rights.clear()
    await compareFailures([[of({}, 'uri'), { error: 'HttpResponseError' }, 'STORE_REFUSED']], asking)
  })

  test('reads what ours has written', async () => {
    await using started = await start()
    started.vault.rights.set('app', new Set(['get', 'list', 'set']))
    await compareWritten(KEY_VAULT, started.base, started.asking)
  })
})

describe('CloudSecretManagerBackend on a double that verifies keys and tokens', () => {
  const ACCOUNT = 'etl@sales-prod.iam.gserviceaccount.com'

  async function start() {
    await using owner = new AsyncDisposableStack()
    const google = owner.use(await startGoogleDouble())
    owner.defer(() => google.agents.https.destroy())
    google.readers.add(ACCOUNT)
    const file = join(home, 'key.json')
    const key = google.keyFile(ACCOUNT)
    await writeFile(file, key, { mode: 0o600 })
    const names = ['secretmanager', 'oauth2', 'iamcredentials'].map((name) => `${name}.googleapis.com`)
    const asking: Asking = {
      home,
      theirs: await ledTo(owner, Object.fromEntries(names.map((name) => [name, google.port])), [google.ca]),
      ours: { agents: google.agents },
    }
    const base = { gcp_key_path: file }
    const of = (kwargs: Readonly<Record<string, unknown>>, id: string): Question =>
      connection(GOOGLE, { ...base, ...kwargs }, id)
    const put = (name: string, content: string): number =>
      google.secrets.put(`projects/sales-prod/secrets/${name}`, content)
    const owned = owner.move()
    return { google, key, base, asking, of, put, [Symbol.asyncDispose]: () => owned.disposeAsync() }
  }

  test('gives the same connections, variables and configuration for the same arguments', async () => {
    await using started = await start()
    const { google, key, base, asking, of, put } = started
    put('airflow-connections-uri', URI)
    put('airflow-connections-my_parts', PARTS)
    put('airflow-connections-changed', 'postgres://h/old')
    put('airflow-connections-changed', 'postgres://h/new')
    put('mine_sales', 'postgres://h/mine')
    put('-bare', 'postgres://h/bare')
    put('airflow-variables-bucket', '  bronze ')
    put('airflow-config-sql', 'sqlite://')
    google.secrets.put('projects/lake-prod/secrets/airflow-connections-lake', 'postgres://h/lake')
    const target = 'reader@sales-prod.iam.gserviceaccount.com'
    google.readers.add(target)
    google.delegations.add(`${ACCOUNT}>${target}`)
    await compare(
      {
        'a URI': of({}, 'uri'),
        'JSON, and an id whose _ stays': of({}, 'my_parts'),
        'the newest version': of({}, 'changed'),
        'another prefix and separator': of({ connections_prefix: 'mine', sep: '_' }, 'sales'),
        'an empty prefix': of({ connections_prefix: '' }, 'bare'),
        'no look-ups': of({ connections_prefix: null }, 'uri'),
        'another project': of({ project_id: 'lake-prod' }, 'lake'),
        'a key in the arguments': connection(GOOGLE, { gcp_keyfile_dict: JSON.parse(key) }, 'uri'),
        'an account that is acted as': of({ impersonation_chain: target }, 'uri'),
        'a secret that never was': of({}, 'never'),
        'a name that no secret can have': of({}, 'a.b'),
        'a variable': { class: GOOGLE, kwargs: base, kind: 'variable', id: 'bucket' },
        'a variable that never was': { class: GOOGLE, kwargs: base, kind: 'variable', id: 'never' },
        configuration: { class: GOOGLE, kwargs: base, kind: 'config', id: 'sql' },
      },
      asking,
    )
  })

  test('fails where Airflow fails, and where Airflow only says that nothing is defined', async () => {
    await using started = await start()
    const { google, asking, of, put } = started
    put('airflow-connections-off', 'postgres://h')
    google.secrets.set('projects/sales-prod/secrets/airflow-connections-off', 1, 'DISABLED')
    put('airflow-connections-bad', '{"conn_type": "postgres", "unknown": 1}')
    await compareFailures(
      [
        [of({}, 'off'), { error: 'FailedPrecondition' }, 'SECRET_DELETED'],
        [of({}, 'bad'), { error: 'TypeError' }, 'CONFIG_INVALID'],
        [of({ connections_prefix: 'a.b' }, 'uri'), { error: 'AirflowException' }, 'CONFIG_INVALID'],
        [of({ gcp_key_path: '/not/there.json' }, 'uri'), { error: 'AttributeError' }, 'CREDENTIAL_MISSING'],
      ],
      asking,
    )
    google.readers.clear()
    await compareFailures([[of({}, 'uri'), { value: null }, 'STORE_REFUSED']], asking)
  })

  test('reads what ours has written', async () => {
    await using started = await start()
    await compareWritten(GOOGLE, started.base, started.asking)
  })
})

describe('LocalFilesystemBackend', () => {
  test('gives the same connections, variables and configuration of files', async () => {
    const write = async (name: string, content: string): Promise<string> => {
      await writeFile(join(home, name), content, { mode: 0o600 })
      return join(home, name)
    }
    const yaml = await write('local.yaml', `uri: ${URI}\nparts:\n  conn_type: postgres\n  host: Db\n  port: 5433\n`)
    const json = await write('local.json', `{"uri": "${URI}", "parts": ${PARTS}}`)
    const env = await write('local.env', `uri=${URI}\n# a comment\nparts=postgres://Db:5433/\n`)
    const variables = await write('variables.json', '{"bucket": "bronze", "empty": ""}')
    const config = await write('config.yaml', 'sql: sqlite://\n')
    const questions: Record<string, Question> = {}
    for (const file of [yaml, json, env]) {
      for (const id of ['uri', 'parts', 'never']) {
        questions[`${id} of ${file}`] = connection(FILES, { connections_file_path: file }, id)
      }
    }
    const kwargs = { variables_file_path: variables, configs_file_path: config }
    await compare(
      {
        ...questions,
        'no file': connection(FILES, {}, 'uri'),
        'a variable': { class: FILES, kwargs, kind: 'variable', id: 'bucket' },
        'a variable that never was': { class: FILES, kwargs, kind: 'variable', id: 'never' },
        configuration: { class: FILES, kwargs, kind: 'config', id: 'sql' },
      },
      { home },
    )
  })

  test('fails where Airflow fails', async () => {
    const question = connection(FILES, { connections_file_path: join(home, 'never.yaml') }, 'uri')
    const [theirs] = await askAirflow([question], { home })
    assert.ok(theirs !== undefined && 'error' in theirs)
    assert.ok('error' in (await askOurs(question, { home })))
  })

  test('reads what ours has written', async () => {
    for (const ending of ['yaml', 'json']) {
      const kwargs = {
        connections_file_path: join(home, `written-connections.${ending}`),
        variables_file_path: join(home, `written-variables.${ending}`),
      }
      await compareWritten(FILES, kwargs, { home })
    }
  })
})
