/** AWS Secrets Manager: https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html */

import { randomUUID } from 'node:crypto'
import type { SecretsManagerClient as Client } from '@aws-sdk/client-secrets-manager'
import { PoolsmithError } from '../../errors.ts'
import { loadPackage } from '../../optional-package.ts'
import type { Secret } from '../../secret.ts'
import { StoredSecret } from '../../vault/stored-secret.ts'
import type { SecretReader, WriteOptions } from '../reader.ts'
import { conflict, textFollowing } from '../text-content.ts'
import { AwsAccess, type AwsAccessContext, type AwsClientSettings } from './access.ts'
import { withoutValue } from './failure.ts'
import type { AwsStoreOptions } from './options.ts'

/**
 * While a secret is rotated, the new password is AWSPENDING until the server has it and it is tested; then it becomes
 * AWSCURRENT, and the one before AWSPREVIOUS ("Rotation Lambda functions").
 */
const OTHER_STAGES = ['AWSPENDING', 'AWSPREVIOUS'] as const

/** The label of a version that is written and is not AWSCURRENT yet. The next write moves it. */
const WRITTEN_STAGE = 'POOLSMITH'

/** Whether a version cannot be had for a reason that is no fault of the store. */
const ABSENT: ReadonlySet<string> = new Set(['SECRET_MISSING', 'SECRET_DELETED', 'SECRET_UNUSABLE', 'STORE_REFUSED'])

export async function secretsManagerReader(
  placeOf: SecretReader['placeOf'],
  options: AwsStoreOptions,
  context: AwsAccessContext,
): Promise<SecretReader> {
  const sdk = await loadPackage(
    '@aws-sdk/client-secrets-manager',
    () => import('@aws-sdk/client-secrets-manager'),
    'aws-sm:',
  )
  const access = new AwsAccess('aws-sm', options, context)
  const connect = (settings: AwsClientSettings) => new sdk.SecretsManagerClient(settings)

  async function read(path: string, stage: string, signal: AbortSignal): Promise<StoredSecret> {
    const step = `read ${stage === 'AWSCURRENT' ? '' : `${stage} of `}the secret ${path}`
    const answer = await access.send(
      { path, step, action: 'secretsmanager:GetSecretValue' },
      connect,
      (client) => client.send(new sdk.GetSecretValueCommand({ SecretId: path, VersionStage: stage })),
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

  /**
   * Makes a version that has a label of ours alone, and then moves AWSCURRENT to it from the version that was read:
   * "if the version ID does not match, then the operation fails" (UpdateSecretVersionStage).
   */
  async function write(path: string, text: Secret, { replaces, signal }: WriteOptions): Promise<StoredSecret> {
    const id = randomUUID()
    const content = { ClientRequestToken: id, SecretString: text.reveal() }
    const send = async (action: string, command: (client: Client) => Promise<unknown>): Promise<void> => {
      const question = { path, step: `write the secret ${path}`, action: `secretsmanager:${action}`, secrets: [text] }
      try {
        await access.send(question, connect, command, signal)
      } catch (error) {
        throw isConflict(error) ? conflict(placeOf(path), replaces) : error
      }
    }
    if (replaces === undefined) {
      await send('CreateSecret', (client) => client.send(new sdk.CreateSecretCommand({ Name: path, ...content })))
    } else {
      const version = { SecretId: path, ...content, VersionStages: [WRITTEN_STAGE] }
      const move = {
        SecretId: path,
        VersionStage: 'AWSCURRENT',
        MoveToVersionId: id,
        RemoveFromVersionId: replaces.version,
      }
      await send('PutSecretValue', (client) => client.send(new sdk.PutSecretValueCommand(version)))
      await send('UpdateSecretVersionStage', (client) => client.send(new sdk.UpdateSecretVersionStageCommand(move)))
    }
    return new StoredSecret(text.reveal(), id, Date.now())
  }

  return {
    distance: 'remote',
    placeOf,
    read: (path, signal) => read(path, 'AWSCURRENT', signal),
    write: (path, fields, options) => write(path, textFollowing(options.replaces, fields), options),
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

function isConflict(error: unknown): boolean {
  if (!(error instanceof PoolsmithError)) return false
  const { error: name } = error.details
  return name === 'ResourceExistsException' || (name === 'InvalidParameterException' && /version/i.test(error.message))
}
