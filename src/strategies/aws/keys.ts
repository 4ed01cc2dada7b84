import { loadPackage } from '../../optional-package.ts'
import type { RequestAgents } from '../strategy.ts'
import type { AwsOptions } from './fields.ts'

/** AWS keys, as the SDK's providers give them. */
export interface AwsKeys {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
  readonly expiration?: Date
}

export type KeyProvider = () => Promise<AwsKeys>

/** The SDK's requests know no signal: these limits stop what our own limit has given up, in milliseconds. */
const REQUEST_LIMITS = { connectionTimeout: 10_000, requestTimeout: 20_000, throwOnRequestTimeout: true }

/**
 * Says how to get the keys that sign: given ones, a profile's, or those of the default chain, and with them those
 * of a role, through the agents where there are some. Each call asks anew, past the SDK's caches, since it is made when the last answer is of no more use.
 */
export async function keyProvider(options: AwsOptions, region: string, agents?: RequestAgents): Promise<KeyProvider> {
  const { aws_access_key_id: accessKeyId, role_arn: role } = options
  if (accessKeyId !== undefined && role === undefined) return async () => givenKeys(options, accessKeyId)
  const providers = await loadPackage(
    '@aws-sdk/credential-providers',
    () => import('@aws-sdk/credential-providers'),
    'auth_method=iam',
  )
  const throughProxy = agents === undefined ? {} : { httpAgent: agents.http, httpsAgent: agents.https }
  const clientConfig = { region, requestHandler: { ...REQUEST_LIMITS, ...throughProxy } }
  const chain = (): KeyProvider =>
    providers.fromNodeProviderChain({
      ignoreCache: true,
      clientConfig,
      ...(options.aws_profile === undefined ? {} : { profile: options.aws_profile }),
    })
  if (role === undefined) return () => chain()()
  return () =>
    providers.fromTemporaryCredentials({
      masterCredentials: accessKeyId === undefined ? chain() : givenKeys(options, accessKeyId),
      params: {
        RoleArn: role,
        RoleSessionName: options.role_session_name,
        ...(options.external_id === undefined ? {} : { ExternalId: options.external_id }),
      },
      clientConfig,
    })()
}

function givenKeys(options: AwsOptions, accessKeyId: string): AwsKeys {
  const sessionToken = options.aws_session_token?.reveal()
  return {
    accessKeyId,
    secretAccessKey: options.aws_secret_access_key?.reveal() ?? '',
    ...(sessionToken === undefined ? {} : { sessionToken }),
  }
}
