/** AWS Secrets Manager: https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html */

import { PoolsmithError } from '../../errors.ts'
import { loadPackage } from '../../optional-package.ts'
import { StoredSecret } from '../../vault/stored-secret.ts'
import type { SecretReader } from '../reader.ts'
import { AwsAccess, type AwsAccessContext } from './access.ts'
import { withoutValue } from './failure.ts'
import type { AwsStoreOptions } from './fields.ts'

/**
 * While a secret is rotated, the new password is AWSPENDING until the server has it and it is tested; then it becomes
 * AWSCURRENT, and the one before AWSPREVIOUS ("Rotation Lambda functions").
 */
const OTHER_STAGES = ['AWSPENDING', 'AWSPREVIOUS'] as const

/** Whether a version cannot be had for a reason that is no fault of the store. */
const ABSENT: ReadonlySet<string> = new Set(['SECRET_MISSING', 'SECRET_DELETED', 'SECRET_UNUSABLE', 'STORE_REFUSED'])

export async function secretsManagerReader(
  placeOf: SecretReader['placeOf'],
  options: AwsStoreOptions,
  context: AwsAccessContext,
): Promise<SecretReader> {
  const { SecretsManagerClient, GetSecretValueCommand } = await loadPackage(
    '@aws-sdk/client-secrets-manager',
    () => import('@aws-sdk/client-secrets-manager'),
    'aws-sm:',
  )
  const access = new AwsAccess('aws-sm', options, context)

  async function read(path: string, stage: string, signal: AbortSignal): Promise<StoredSecret> {
    const step = `read ${stage === 'AWSCURRENT' ? '' : `${stage} of `}the secret ${path}`
    const answer = await access.send(
      { path, step, action: 'secretsmanager:GetSecretValue' },
      (settings) => new SecretsManagerClient(settings),
      (client) => client.send(new GetSecretValueCommand({ SecretId: path, VersionStage: stage })),
      signal,
    )
    const { SecretString: text, SecretBinary: binary, VersionId: version, CreatedDate: created } = answer
    if (text !== undefined) return new StoredSecret(text, version, created?.getTime())
    if (binary === undefined) throw withoutValue(placeOf(path))
    throw new PoolsmithError(`${placeOf(path)} is binary, and a text is needed.`, {
      code: 'SECRET_UNUSABLE',
      phase: 'credential',
      hint: 'Store it as SecretString.',
    })
  }

  return {
    distance: 'remote',
    placeOf,
    read: (path, signal) => read(path, 'AWSCURRENT', signal),
    async others(path, current, signal) {
      const found = await Promise.all(
        OTHER_STAGES.map((stage) =>
          read(path, stage, signal).catch((error: unknown) => {
            if (error instanceof PoolsmithError && ABSENT.has(error.code)) return undefined
            throw error
          }),
        ),
      )
      return found.filter((one) => one !== undefined).filter(({ version }) => version !== current.version)
    },
  }
}
