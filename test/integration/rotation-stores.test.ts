/** Passwords and API keys in each kind of store that can be written. */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { createEngine } from '../../src/index.ts'
import { checkRotation, openApiKeys, rotate } from '../../src/rotation/index.ts'
import { REGION, startAwsDouble } from '../support/aws/stores-double.ts'
import { poolsmith } from '../support/cli-in-process.ts'
import { temporaryFolder } from '../support/folder.ts'
import { startKubernetesApi } from '../support/kubernetes-api.ts'
import { startPostgres } from '../support/postgres.ts'
import { startVaultDouble } from '../support/vault/double.ts'
import { administer } from '../support/vault/server.ts'

const FIRST = 'First-password-1'

interface Place extends AsyncDisposable {
  /** The secret of the password, with the field `password`. */
  readonly secret: string
  /** The secret of the index of API keys. */
  readonly keys: string
  readonly extra: Readonly<Record<string, unknown>>
  readonly environment: Readonly<Record<string, string>>
}

const PLACES: Readonly<Record<string, () => Promise<Place>>> = {
  async Vault() {
    const vault = await startVaultDouble()
    await administer(vault, 'POST', 'secret/data/sales', { data: { password: FIRST } })
    return {
      secret: 'vault:secret/sales',
      keys: 'vault:secret/api-keys',
      extra: { vault_addr: vault.address, vault_token: vault.rootToken },
      environment: {},
      [Symbol.asyncDispose]: () => vault[Symbol.asyncDispose](),
    }
  },
  async 'the API of Kubernetes'() {
    const api = await startKubernetesApi(FIRST)
    const { extra, environment } = api
    return {
      secret: 'k8s:prod/sales',
      keys: 'k8s:prod/api-keys',
      extra,
      environment,
      [Symbol.asyncDispose]: () => api[Symbol.asyncDispose](),
    }
  },
  async 'AWS Secrets Manager'() {
    const aws = await startAwsDouble()
    aws.secrets.put('sales', JSON.stringify({ password: FIRST, port: 5432 }))
    return {
      secret: 'aws-sm:sales',
      keys: 'aws-sm:api-keys',
      extra: {
        aws_access_key_id: 'AKIATEST',
        aws_secret_access_key: 'secret-of-the-test-key',
        region: REGION,
        aws_endpoint_url: aws.url,
      },
      environment: {},
      [Symbol.asyncDispose]: () => aws[Symbol.asyncDispose](),
    }
  },
  async 'the AWS Parameter Store'() {
    const aws = await startAwsDouble()
    aws.parameters.put('/prod/sales', JSON.stringify({ password: FIRST }))
    return {
      secret: 'aws-ssm:/prod/sales',
      keys: 'aws-ssm:/prod/api-keys',
      extra: {
        aws_access_key_id: 'AKIATEST',
        aws_secret_access_key: 'secret-of-the-test-key',
        region: REGION,
        aws_endpoint_url: aws.url,
      },
      environment: {},
      [Symbol.asyncDispose]: () => aws[Symbol.asyncDispose](),
    }
  },
  async 'a file'() {
    const folder = await temporaryFolder()
    const path = join(folder.path, 'sales.json')
    await writeFile(path, JSON.stringify({ password: FIRST }), { mode: 0o600 })
    return {
      secret: `file:${path}`,
      keys: `file:${join(folder.path, 'api-keys')}`,
      extra: {},
      environment: {},
      [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
    }
  },
  async 'an encrypted file'() {
    const folder = await temporaryFolder()
    const environment = {
      POOLSMITH_SECRETS_FILE: join(folder.path, 'secrets'),
      POOLSMITH_SECRETS_KEY: randomBytes(32).toString('base64'),
    }
    const set = await poolsmith(['secrets', 'set', 'sales#password'], environment, FIRST)
    assert.equal(set.code, 0, set.log)
    return {
      secret: 'encrypted:sales',
      keys: 'encrypted:api-keys',
      extra: {},
      environment,
      [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
    }
  },
}

for (const [name, start] of Object.entries(PLACES)) {
  test(`${name}: a password is rotated, and the pools that read it follow`, { timeout: 60_000 }, async () => {
    await using server = await startPostgres()
    await server.sql(`create role etl login password '${FIRST}'`)
    await using place = await start()
    const { environment } = place
    const extra = { ...place.extra, password_from: `${place.secret}#password` }
    const { host, port } = server
    const record = { type: 'postgres', host, port, login: 'etl', database: 'postgres', extra } as const
    const stores = { environment }
    await using db = await createEngine(record, { pool_size: 2, stores })
    await db.raw('select 1')
    const steps: string[] = []
    const result = await rotate(record, {
      stores,
      onStep: async (step) => {
        steps.push(step)
        // A session is opened in each state of the rotation.
        db.pool.invalidate()
        await db.raw('select 1')
      },
    })
    assert.deepEqual(steps, ['read', 'login', 'pending', 'alter', 'verify', 'promote'])
    assert.equal(result.user, 'etl')
    db.pool.invalidate()
    await db.raw('select 1')
    const { credentials } = await checkRotation({ connections: [record], stores, askServers: false })
    const age = credentials.find(({ option }) => option === 'password')
    // The doubles of Kubernetes and of parameters tell no times.
    if (!['the API of Kubernetes', 'the AWS Parameter Store'].includes(name))
      assert.ok(Math.abs((age?.setAt ?? 0) - Date.now()) < 600_000, String(age?.notes))
  })

  test(`${name}: API keys are made, rotated, validated and revoked`, { timeout: 60_000 }, async () => {
    await using place = await start()
    const options = { store: place.extra, environment: place.environment }
    using keys = await openApiKeys(place.keys, options)
    const first = (await keys.generate('billing')).key
    await keys.generate('ledger')
    const second = (await keys.rotate('billing')).key
    using validator = await openApiKeys(place.keys, options)
    assert.equal((await validator.validate(first))?.state, 'retiring')
    assert.equal((await validator.validate(second))?.state, 'current')
    assert.equal((await validator.headersFor('billing'))['X-API-Key'], second.reveal())
    assert.equal((await validator.list()).length, 3)
    await keys.revoke('billing')
    using after = await openApiKeys(place.keys, options)
    assert.equal(await after.validate(second), undefined)
    await assert.rejects(after.headersFor('billing'), { code: 'API_KEY_REVOKED' })
    assert.ok((await after.headersFor('ledger'))['Authorization']?.startsWith('Bearer psm_'))
  })
}
