/** The Parameter Store of AWS Systems Manager: https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html */

import type { GetParameterHistoryCommandOutput as Versions } from '@aws-sdk/client-ssm'
import { PoolsmithError } from '../../errors.ts'
import { loadPackage } from '../../optional-package.ts'
import type { Secret } from '../../secret.ts'
import { StoredSecret } from '../../vault/stored-secret.ts'
import type { SecretReader, WriteOptions } from '../reader.ts'
import { conflict, textFollowing } from '../text-content.ts'
import { AwsAccess, type AwsAccessContext } from './access.ts'
import { withoutValue } from './failure.ts'
import type { AwsStoreOptions } from './options.ts'

/** A version or label behind the name, or behind the ARN, which has six parts of its own. */
const SELECTOR = /^(?:arn:(?:[^:]*:){4}[^:]*|[^:]*):[^:]+$/

type Version = NonNullable<Versions['Parameters']>[number]

export async function parameterStoreReader(
  placeOf: SecretReader['placeOf'],
  options: AwsStoreOptions,
  context: AwsAccessContext,
): Promise<SecretReader> {
  const sdk = await loadPackage('@aws-sdk/client-ssm', () => import('@aws-sdk/client-ssm'), 'aws-ssm:')
  const access = new AwsAccess('aws-ssm', options, context)

  async function read(path: string, signal: AbortSignal): Promise<StoredSecret> {
    const { Parameter: parameter } = await access.send(
      { path, step: `read the parameter ${path}`, action: 'ssm:GetParameter' },
      (settings) => new sdk.SSMClient(settings),
      (client) => client.send(new sdk.GetParameterCommand({ Name: path, WithDecryption: true })),
      signal,
    )
    const { Value: text, Version: version, LastModifiedDate: written } = parameter ?? {}
    if (text !== undefined) return new StoredSecret(text, version?.toString(), written?.getTime())
    throw withoutValue(placeOf(path))
  }

  /** The newest version of a parameter, as far as it is no secret; undefined where there is none. */
  async function newest(path: string, signal: AbortSignal): Promise<Version | undefined> {
    let last: Version | undefined
    let next: string | undefined
    do {
      const { Parameters: versions = [], NextToken: token } = await access
        .send(
          { path, step: `read the versions of the parameter ${path}`, action: 'ssm:GetParameterHistory' },
          (settings) => new sdk.SSMClient(settings),
          (client) => client.send(new sdk.GetParameterHistoryCommand({ Name: path, MaxResults: 50, NextToken: next })),
          signal,
        )
        .catch((error: unknown) => {
          if (error instanceof PoolsmithError && error.code === 'SECRET_MISSING') return {} as Versions
          throw error
        })
      for (const one of versions) if (last === undefined || (one.Version ?? 0) > (last.Version ?? 0)) last = one
      next = token
    } while (next !== undefined)
    return last
  }

  /**
   * The Parameter Store compares no version: the newest one is read and compared just before. The type, the key and the
   * tier of a parameter stay as they are, which PutParameter would set to their defaults.
   */
  async function write(path: string, text: Secret, { replaces, signal }: WriteOptions): Promise<StoredSecret> {
    if (SELECTOR.test(path) || path.startsWith('arn:')) throw notByName(placeOf(path))
    const present = await newest(path, signal)
    if (present?.Version?.toString() !== replaces?.version) throw conflict(placeOf(path), replaces)
    const { Type: type = 'SecureString', KeyId: key, Tier: tier } = present ?? {}
    const content = { Name: path, Value: text.reveal(), Overwrite: present !== undefined }
    try {
      const { Version: version } = await access.send(
        { path, step: `write the parameter ${path}`, action: 'ssm:PutParameter', secrets: [text] },
        (settings) => new sdk.SSMClient(settings),
        (client) => client.send(new sdk.PutParameterCommand({ ...content, Type: type, KeyId: key, Tier: tier })),
        signal,
      )
      return new StoredSecret(text.reveal(), version?.toString(), Date.now())
    } catch (error) {
      const isTaken = error instanceof PoolsmithError && error.details.error === 'ParameterAlreadyExists'
      throw isTaken ? conflict(placeOf(path), replaces) : error
    }
  }

  return {
    distance: 'remote',
    placeOf,
    read,
    write: (path, fields, options) => write(path, textFollowing(options.replaces, fields), options),
    /** The version before, for a parameter of which none is named. */
    async others(path, { version }, signal) {
      const before = Number(version) - 1
      if (SELECTOR.test(path) || !(before >= 1)) return []
      try {
        return [await read(`${path}:${before}`, signal)]
      } catch (error) {
        if (error instanceof PoolsmithError && ['SECRET_MISSING', 'STORE_REFUSED'].includes(error.code)) return []
        throw error
      }
    },
  }
}

function notByName(place: string): PoolsmithError {
  return new PoolsmithError(`${place} is named by its ARN, or by a version or label, and cannot be written so.`, {
    code: 'SECRET_UNUSABLE',
    phase: 'credential',
    hint: 'Name the parameter by its name alone, such as aws-ssm:/prod/sales.',
  })
}
