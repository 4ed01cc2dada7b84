/** The Parameter Store of AWS Systems Manager: https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html */

import { PoolsmithError } from '../../errors.ts'
import { loadPackage } from '../../optional-package.ts'
import { StoredSecret } from '../../vault/stored-secret.ts'
import type { SecretReader } from '../reader.ts'
import { AwsAccess, type AwsAccessContext } from './access.ts'
import { withoutValue } from './failure.ts'
import type { AwsStoreOptions } from './options.ts'

/** A version or label behind the name, or behind the ARN, which has six parts of its own. */
const SELECTOR = /^(?:arn:(?:[^:]*:){4}[^:]*|[^:]*):[^:]+$/

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

  return {
    distance: 'remote',
    placeOf,
    read,
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
