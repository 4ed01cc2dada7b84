/** Airflow's backends for AWS, with their layouts and arguments, on a double of the services. */

import assert from 'node:assert/strict'
import { after, beforeEach, describe, test } from 'node:test'
import { ConfigError, findConnection, resolveConnection } from '../../src/index.ts'
import { openStores } from '../../src/stores/index.ts'
import { failureOf, openSettings, textOf } from '../support/airflow-store.ts'
import { REGION, refuse, startAwsDouble } from '../support/aws/stores-double.ts'
import { clearAwsEnvironment } from '../support/aws-environment.ts'
import { temporaryFolder } from '../support/folder.ts'
import { startVaultDouble } from '../support/vault/double.ts'
import { administer } from '../support/vault/server.ts'

const resources = new AsyncDisposableStack()
after(() => resources.disposeAsync())
const folder = resources.use(await temporaryFolder())
const aws = resources.use(await startAwsDouble())

beforeEach(() => {
  clearAwsEnvironment(folder.path)
  aws.fault = undefined
  aws.asked.length = 0
})

const KEYS = { aws_access_key_id: 'AKIATEST', aws_secret_access_key: 'secret-of-the-test-key' }
const AWS = { ...KEYS, region_name: REGION, endpoint_url: aws.url }
const SECRETS_MANAGER = 'airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend'
const PARAMETER_STORE = 'airflow.providers.amazon.aws.secrets.systems_manager.SystemsManagerParameterStoreBackend'

const signal = AbortSignal.timeout(120_000)
const ask = { signal }

describe('Secrets Manager', () => {
  test('connections, variables and configuration are at the paths of Airflow', async () => {
    aws.secrets.put('airflow/connections/sales', 'postgres://h/sales')
    aws.secrets.put('airflow/variables/bucket', 'bronze')
    aws.secrets.put('airflow/config/sql', 'sqlite://')
    aws.secrets.put('mine:sales', 'postgres://h/mine')
    const store = await openSettings({ type: SECRETS_MANAGER, ...AWS })
    assert.equal(await textOf(store.getConnection?.('sales', ask)), 'postgres://h/sales')
    assert.equal(await textOf(store.getVariable?.('bucket', ask)), 'bronze')
    assert.equal(await textOf(store.getConfig?.('sql', ask)), 'sqlite://')
    assert.equal(await store.getConnection?.('never', ask), undefined)
    const environment = {
      AIRFLOW__SECRETS__BACKEND: SECRETS_MANAGER,
      AIRFLOW__SECRETS__BACKEND_KWARGS: JSON.stringify({ ...AWS, connections_prefix: 'airflow/connections///' }),
    }
    assert.equal((await findConnection('sales', { environment, cwd: '/' })).database, 'sales')
  })

  test('a role is assumed with the arguments of Airflow, also for the login to Vault', async () => {
    aws.secrets.put('airflow/connections/by-role', 'postgres://h/sales')
    process.env.AWS_ENDPOINT_URL_STS = aws.url
    const role_arn = 'arn:aws:iam::123456789012:role/etl'
    const assume_role_kwargs = { RoleSessionName: 'airflow', ExternalId: 'x-1', DurationSeconds: 900 }
    const store = await openSettings({ type: SECRETS_MANAGER, ...AWS, role_arn, assume_role_kwargs })
    assert.equal(await textOf(store.getConnection?.('by-role', ask)), 'postgres://h/sales')
    const expected = { RoleArn: role_arn, RoleSessionName: 'airflow', ExternalId: 'x-1', DurationSeconds: '900' }
    const { Action: _action, Version: _version, ...asked } = aws.asked[0]?.input ?? {}
    assert.deepEqual(asked, expected)
    aws.asked.length = 0
    await using vault = await startVaultDouble()
    await administer(vault, 'POST', 'auth/aws/role/etl', { token_policies: [] })
    const { aws_access_key_id: key_id, aws_secret_access_key: secret_id } = KEYS
    const login = { auth_type: 'aws_iam', role_id: 'etl', region: REGION, key_id, secret_id }
    const kwargs = { ...login, assume_role_kwargs: { ...assume_role_kwargs, RoleArn: role_arn } }
    const byVault = await openSettings({ type: 'vault', url: vault.address, ...kwargs })
    // The double of Vault does not know the keys of the role.
    assert.match(
      (await failureOf(byVault.getConnection?.('by-role', ask))).message,
      /log in by aws.*InvalidClientTokenId/,
    )
    const { Action: _act, Version: _vers, ...forVault } = aws.asked[0]?.input ?? {}
    assert.deepEqual(forVault, expected)
    const unknown = openSettings({ type: SECRETS_MANAGER, ...AWS, role_arn, assume_role_kwargs: { TokenCode: '1' } })
    assert.match((await failureOf(unknown)).message, /assume_role_kwargs\.TokenCode: only RoleArn/)
  })

  test('the words of its JSON are those of Airflow, and what Airflow drops is said', async () => {
    const secret = {
      engine: 'aurora-postgresql',
      user_name: 'etl',
      pass: 'x',
      server: 'h',
      port: 5433,
      dbname: 'sales',
    }
    aws.secrets.put('airflow/connections/words', JSON.stringify(secret))
    const find = async (kwargs: object) => {
      const warnings: string[] = []
      const environment = {
        AIRFLOW__SECRETS__BACKEND: SECRETS_MANAGER,
        AIRFLOW__SECRETS__BACKEND_KWARGS: JSON.stringify({ ...AWS, ...kwargs }),
      }
      const onWarning = ({ message }: { readonly message: string }) => void warnings.push(message)
      const found = await resolveConnection('words', { environment, cwd: '/', onWarning })
      return { ...found, password: found.password?.reveal(), warnings: warnings.length }
    }
    const { id, extra, ...plain } = await find({})
    assert.deepEqual(plain, { type: 'postgres', host: 'h', port: 5433, login: 'etl', password: 'x', warnings: 1 })
    assert.deepEqual([id, extra], ['words', {}])
    const added = await find({ extra_conn_words: { schema: ['dbname'] } })
    assert.deepEqual([added.database, added.warnings], ['sales', 0])
  })

  test('a connection is written as JSON, and read back as Airflow reads it', async () => {
    aws.secrets.put('airflow/connections/written', 'postgres://old')
    await using stores = openStores({ environment: {}, cwd: '/', stores: [{ type: 'aws-sm', ...AWS }] })
    for (const id of ['written', 'fresh']) {
      await stores.setConnection(id, 'postgres://etl:x@h:5433/sales?sslmode=require')
      const found = await stores.getConnection(id)
      const { host, port, login, database, extra } = found ?? {}
      assert.deepEqual([host, port, login, database, extra], ['h', 5433, 'etl', 'sales', { sslmode: 'require' }])
    }
  })

  test('an id that the pattern excludes is not asked for, and a prefix may be empty or null', async () => {
    aws.secrets.put('sales', 'postgres://h/bare')
    const bare = await openSettings({
      type: 'aws-sm',
      ...AWS,
      connections_prefix: '',
      connections_lookup_pattern: '(?P<x>s)al',
    })
    assert.equal(await textOf(bare.getConnection?.('sales', ask)), 'postgres://h/bare')
    aws.asked.length = 0
    assert.equal(await bare.getConnection?.('other-sales', ask), undefined)
    const none = await openSettings({ type: 'aws-sm', ...AWS, connections_prefix: null })
    assert.equal(await none.getConnection?.('sales', ask), undefined)
    assert.equal(aws.asked.length, 0)
  })

  test('the secret of a team comes before that of all teams', async () => {
    aws.secrets.put('airflow/connections/data--lake', 'postgres://team')
    aws.secrets.put('airflow/connections/lake', 'postgres://all')
    const store = await openSettings({ type: 'aws-sm', ...AWS })
    assert.equal(await textOf(store.getConnection?.('lake', { signal, team: 'data' })), 'postgres://team')
    assert.equal(await textOf(store.getConnection?.('lake', { signal, team: 'ops' })), 'postgres://all')
    assert.equal(await store.getConnection?.('data--lake', { signal, team: 'ops' }), undefined)
  })

  test('a failure is an error, also where Airflow takes it for a secret that is missing', async () => {
    const store = await openSettings({ type: 'aws-sm', ...AWS })
    for (const name of ['DecryptionFailure', 'InternalServiceError', 'AccessDeniedException', 'ThrottlingException']) {
      aws.fault = (_, response) => {
        refuse(response, name, 'no', { status: name === 'InternalServiceError' ? 500 : 400 })
        return true
      }
      const error = await failureOf(store.getConnection?.('sales', ask))
      assert.match(error.code, /^STORE_/)
      assert.match(error.message, /AWS Secrets Manager .*airflow\/connections\/sales/)
    }
  })

  test('arguments that are wrong are all reported, under their own names', async () => {
    const wrong = { connections_lookup_pattern: '(', session_kwargs: {}, region: 'x' }
    const error = await failureOf(openSettings({ type: 'aws-sm', ...wrong }))
    assert.ok(error instanceof ConfigError)
    const paths = error.problems.map(({ path }) => path).sort()
    assert.deepEqual(paths, ['connections_lookup_pattern', 'region', 'session_kwargs'])
    const placeless = await failureOf(openSettings({ type: 'aws-sm', ...KEYS }))
    assert.match(placeless.message, /region_name: missing/)
    const half = await failureOf(
      openSettings({ type: 'aws-sm', region_name: REGION, aws_access_key_id: 'x', role_arn: 'y' }),
    )
    assert.match(half.message, /aws_secret_access_key: aws_access_key_id needs it/)
  })
})

describe('the Parameter Store', () => {
  test('a leading slash is added, and texts are taken as they are', async () => {
    aws.parameters.put('/airflow/connections/sales', 'postgres://h/sales')
    aws.parameters.put('/mine/lake', '{"conn_type": "postgres", "host": "h", "schema": "lake"}')
    const store = await openSettings({ type: PARAMETER_STORE, ...AWS })
    assert.equal(await textOf(store.getConnection?.('sales', ask)), 'postgres://h/sales')
    assert.equal(await store.getConnection?.('never', ask), undefined)
    const mine = await openSettings({ type: 'aws-ssm', ...AWS, connections_prefix: 'mine/' })
    assert.match(String(await textOf(mine.getConnection?.('lake', ask))), /"schema": "lake"/)
  })
})
