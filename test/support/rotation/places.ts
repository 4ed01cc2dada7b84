/** The stores of secrets that can be written, each with the password of a database in it. */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type AwsDouble, REGION, startAwsDouble } from '../aws/stores-double.ts'
import { poolsmith } from '../cli-in-process.ts'
import { temporaryFolder } from '../folder.ts'
import { startKubernetesApi } from '../kubernetes-api.ts'
import { openStore } from '../open-store.ts'
import { startVaultDouble } from '../vault/double.ts'
import { administer } from '../vault/server.ts'
import { FIRST } from './sides.ts'

export interface Place extends AsyncDisposable {
  /** The secret of the password, with the field `password`. */
  readonly secret: string
  /** The secret of the index of API keys. */
  readonly keys: string
  readonly extra: Readonly<Record<string, unknown>>
  readonly environment: Readonly<Record<string, string>>
}

function ofAws(aws: AwsDouble): Pick<Place, 'extra' | 'environment'> & AsyncDisposable {
  return {
    extra: {
      aws_access_key_id: 'AKIATEST',
      aws_secret_access_key: 'secret-of-the-test-key',
      region: REGION,
      aws_endpoint_url: aws.url,
    },
    environment: {},
    [Symbol.asyncDispose]: () => aws[Symbol.asyncDispose](),
  }
}

export const PLACES: Readonly<Record<string, () => Promise<Place>>> = {
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
      ...ofAws(aws),
    }
  },
  async 'the AWS Parameter Store'() {
    const aws = await startAwsDouble()
    aws.parameters.put('/prod/sales', JSON.stringify({ password: FIRST }))
    return {
      secret: 'aws-ssm:/prod/sales',
      keys: 'aws-ssm:/prod/api-keys',
      ...ofAws(aws),
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

/** The fields of the secret, as the store has them now. */
export async function fieldsIn({ secret, extra, environment }: Place): Promise<Readonly<Record<string, string>>> {
  using store = openStore(`${secret}#password`, extra, environment)
  const texts = (await store.read()).texts()
  return Object.fromEntries([...texts].map(([name, text]) => [name, text.reveal()]))
}
