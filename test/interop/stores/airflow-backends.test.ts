/** Airflow's own secrets backends beside ours: the same stores, the same keyword arguments, the same ids. */

import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { REGION, refuse, startAwsDouble } from '../../support/aws/stores-double.ts'
import { clearAwsEnvironment } from '../../support/aws-environment.ts'
import { temporaryFolder } from '../../support/folder.ts'
import { administer } from '../../support/vault/server.ts'
import {
  type Answer,
  askAirflow,
  askOurs,
  compare,
  compareFailures,
  compareWritten,
  connection,
  type Question,
} from './airflow.ts'
import { startOpenBao } from './openbao.ts'

const VAULT = 'airflow.providers.hashicorp.secrets.vault.VaultBackend'
const SECRETS_MANAGER = 'airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend'
const PARAMETER_STORE = 'airflow.providers.amazon.aws.secrets.systems_manager.SystemsManagerParameterStoreBackend'

const stack = new AsyncDisposableStack()
after(() => stack.disposeAsync())
const { path: home } = stack.use(await temporaryFolder())
const asking = { home }

describe('VaultBackend on OpenBao', () => {
  test('gives the same connections, variables and configuration for the same arguments', async () => {
    await using server = await startOpenBao()
    const put = (path: string, data: Readonly<Record<string, unknown>>) =>
      administer(server, 'POST', `secret/data/${path}`, { data })
    await administer(server, 'POST', 'sys/mounts/first', { type: 'kv', options: { version: '1' } })
    await administer(server, 'POST', 'first/connections/sales', { conn_uri: 'postgres://h/first' })
    const parts = { conn_type: 'postgres', host: 'Db', login: 'etl', password: 'p@ss', schema: 'sales', port: 5433 }
    await put('connections/uri', { conn_uri: 'postgres://etl:p%40ss@Db:5433/sales?sslmode=require', host: 'other' })
    await put('connections/parts', { ...parts, extra: { sslmode: 'require', connect_timeout: 3 } })
    await put('connections/text', { ...parts, extra: '{"sslmode": "require"}' })
    await put('connections/nulls', { conn_type: 'postgres', host: 'h', login: null, schema: '' })
    await put('second/lake', { conn_uri: 'postgres://h/lake' })
    await put('bare', { conn_uri: 'postgres://h/bare' })
    await put('connections/gone', { conn_uri: 'postgres://h/gone' })
    await administer(server, 'DELETE', 'secret/data/connections/gone')
    await put('variables/bucket', { value: 'bronze' })
    await put('config/sql', { value: 'sqlite://' })
    const secret = await administer(server, 'POST', 'sys/policies/acl/all', {
      policy: 'path "secret/*" { capabilities = ["read"] }',
    }).then(async () => {
      await administer(server, 'POST', 'sys/auth/userpass', { type: 'userpass' })
      await administer(server, 'POST', 'auth/userpass/users/etl', { password: 'pw', token_policies: ['all'] })
      await administer(server, 'POST', 'sys/auth/approle', { type: 'approle' })
      await administer(server, 'POST', 'auth/approle/role/etl', { token_policies: ['all'] })
      const role = await administer(server, 'GET', 'auth/approle/role/etl/role-id')
      const made = await administer(server, 'POST', 'auth/approle/role/etl/secret-id', {})
      return { ...(role.data as object), ...(made.data as object) } as { role_id: string; secret_id: string }
    })
    const base = { url: server.address, token: server.rootToken }
    const { role_id, secret_id } = secret
    const vault = (kwargs: Readonly<Record<string, unknown>>, id: string) =>
      connection(VAULT, { ...base, ...kwargs }, id)
    await compare(
      {
        'the URI comes before the fields': vault({}, 'uri'),
        'the fields are the parts': vault({}, 'parts'),
        'extra as a text': vault({}, 'text'),
        'parts that are null': vault({}, 'nulls'),
        'a path that ends in a slash': vault({ connections_path: 'connections/' }, 'uri'),
        'several paths': vault({ connections_path: ['connections', 'second'] }, 'lake'),
        'one more path for all': vault({ global_secrets_path: 'second' }, 'lake'),
        'an empty path': vault({ connections_path: '' }, 'bare'),
        'no look-ups': vault({ connections_path: null }, 'uri'),
        'the mount in the id': vault({ mount_point: null }, 'secret/uri'),
        'no mount in the id': vault({ mount_point: null }, 'uri'),
        'version 1 of the engine': vault({ mount_point: 'first', kv_engine_version: 1 }, 'sales'),
        'a connection that never was': vault({}, 'never'),
        'a version that was deleted': vault({}, 'gone'),
        'a login by user and password': connection(
          VAULT,
          { url: server.address, auth_type: 'userpass', username: 'etl', password: 'pw' },
          'uri',
        ),
        'a login by an AppRole': connection(
          VAULT,
          { url: server.address, auth_type: 'approle', role_id, secret_id },
          'uri',
        ),
        'a variable': { class: VAULT, kwargs: base, kind: 'variable', id: 'bucket' },
        'a variable that never was': { class: VAULT, kwargs: base, kind: 'variable', id: 'never' },
        configuration: { class: VAULT, kwargs: base, kind: 'config', id: 'sql' },
      },
      asking,
    )
  })

  test('fails where Airflow fails, and where Airflow only says that nothing is defined', async () => {
    await using server = await startOpenBao()
    await administer(server, 'POST', 'secret/data/connections/parts', { data: { conn_type: 'postgres', unknown: 'x' } })
    await administer(server, 'POST', 'secret/data/connections/empty', { data: { conn_type: 'postgres', conn_uri: '' } })
    await administer(server, 'POST', 'secret/data/variables/bucket', { data: { other: 'bronze' } })
    const { address: url, rootToken: token } = server
    const variable: Question = { class: VAULT, kwargs: { url, token }, kind: 'variable', id: 'bucket' }
    const questions: readonly (readonly [Question, theirs: Answer, ours: string])[] = [
      [connection(VAULT, { url, token: 's.wrong' }, 'a'), { error: 'VaultError' }, 'STORE_REFUSED'],
      [connection(VAULT, { url, token, auth_type: 'unknown' }, 'a'), { error: 'VaultError' }, 'CONFIG_INVALID'],
      [connection(VAULT, { url, token, kv_engine_version: 3 }, 'a'), { error: 'VaultError' }, 'CONFIG_INVALID'],
      [connection(VAULT, { url, auth_type: 'approle' }, 'a'), { error: 'VaultError' }, 'CONFIG_INVALID'],
      [connection(VAULT, { url, token }, 'parts'), { error: 'TypeError' }, 'CONFIG_INVALID'],
      [connection(VAULT, { url, token }, 'empty'), { error: 'TypeError' }, 'CONFIG_INVALID'],
      // Nothing is mounted there, and a secret without the key: Airflow asks the next backend.
      [connection(VAULT, { url, token, mount_point: 'nowhere' }, 'a'), { value: null }, 'STORE_REFUSED'],
      [variable, { value: null }, 'SECRET_FIELD_MISSING'],
    ]
    await compareFailures(questions, asking)
  })

  test('reads what ours has written', async () => {
    await using server = await startOpenBao()
    await compareWritten(VAULT, { url: server.address, token: server.rootToken }, asking)
  })
})

describe("Amazon's backends on a double that verifies signatures", () => {
  const KEYS = { aws_access_key_id: 'AKIATEST', aws_secret_access_key: 'secret-of-the-test-key', region_name: REGION }

  test('give the same connections and variables for the same arguments', async () => {
    await using aws = await startAwsDouble()
    clearAwsEnvironment(home)
    const base = { ...KEYS, endpoint_url: aws.url }
    const words = { engine: 'postgres', user_name: 'etl', pass: 'x', remote_host: 'h', port: 5433, dbname: 'sales' }
    aws.secrets.put('airflow/connections/uri', 'postgres://etl:x@h:5433/sales?sslmode=require')
    aws.secrets.put('airflow/connections/words', JSON.stringify(words))
    aws.secrets.put('airflow/connections/twice', JSON.stringify({ conn_type: 'postgres', user: 'one', login: 'two' }))
    aws.secrets.put('mine.sales', 'postgres://h/mine')
    aws.secrets.put('bare', 'postgres://h/bare')
    aws.secrets.put('airflow/variables/bucket', '  bronze ')
    aws.parameters.put('/airflow/connections/sales', 'postgres://h/sales')
    aws.parameters.put('/mine/lake', '{"conn_type": "postgres", "host": "h", "schema": "lake"}')
    const secrets = (kwargs: Readonly<Record<string, unknown>>, id: string) =>
      connection(SECRETS_MANAGER, { ...base, ...kwargs }, id)
    const parameters = (kwargs: Readonly<Record<string, unknown>>, id: string) =>
      connection(PARAMETER_STORE, { ...base, ...kwargs }, id)
    await compare(
      {
        'a URI': secrets({}, 'uri'),
        'the words of Airflow': secrets({}, 'words'),
        'more words': secrets({ extra_conn_words: { schema: ['dbname'] } }, 'words'),
        'two words for a part': secrets({}, 'twice'),
        'a prefix with another separator': secrets({ connections_prefix: 'mine..', sep: '.' }, 'sales'),
        'an empty prefix': secrets({ connections_prefix: '' }, 'bare'),
        'no look-ups': secrets({ connections_prefix: null }, 'uri'),
        'an id that the pattern excludes': secrets({ connections_lookup_pattern: 'x' }, 'uri'),
        'an id that it includes, whatever the case': secrets({ connections_lookup_pattern: '^UR' }, 'uri'),
        'a secret that never was': secrets({}, 'never'),
        'a variable': { class: SECRETS_MANAGER, kwargs: base, kind: 'variable', id: 'bucket' },
        'a parameter': parameters({}, 'sales'),
        'a prefix without its slash': parameters({ connections_prefix: 'mine/' }, 'lake'),
        'a parameter that never was': parameters({}, 'never'),
      },
      asking,
    )
  })

  test('an outage is an error, also where Airflow says that nothing is defined', async () => {
    await using aws = await startAwsDouble()
    clearAwsEnvironment(home)
    const question = connection(SECRETS_MANAGER, { ...KEYS, endpoint_url: aws.url }, 'sales')
    aws.fault = (_, response) => {
      refuse(response, 'DecryptionFailure', 'the key is disabled')
      return true
    }
    assert.deepEqual(await askAirflow([question], asking), [{ value: null }])
    assert.deepEqual(await askOurs(question, asking), { error: 'STORE_KEY_UNUSABLE' })
  })

  test('read what ours has written', async () => {
    await using aws = await startAwsDouble()
    clearAwsEnvironment(home)
    const kwargs = { ...KEYS, endpoint_url: aws.url }
    await compareWritten(SECRETS_MANAGER, kwargs, asking)
    await compareWritten(PARAMETER_STORE, kwargs, asking)
  })
})
