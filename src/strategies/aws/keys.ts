import { access } from 'node:fs/promises'
import { isError } from '../../any-error.ts'
import { PoolsmithError } from '../../errors.ts'
import { loadPackage } from '../../optional-package.ts'
import { isPlausiblePath, shownPath } from '../../plausible-path.ts'
import type { RequestAgents } from '../strategy.ts'
import { assertTokenFile } from '../token-file.ts'
import type { AwsOptions } from './fields.ts'
import { refuseIncomplete } from './shared-profile.ts'

/** AWS keys, as the SDK's providers give them. */
export interface AwsKeys {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string | undefined
  readonly expiration?: Date
}

export type KeyProvider = () => Promise<AwsKeys>

export interface KeyContext {
  readonly region: string
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly agents?: RequestAgents | undefined
  /** How long one request may take: supervise() ends it then. */
  readonly requestLimitMillis: number
  /** More arguments of AssumeRole, under the names of AWS. */
  readonly assumeRole?: Readonly<Record<string, unknown>> | undefined
  /** As {@link loadPackage} takes it. Default: `auth_method=iam`. */
  readonly neededFor?: string
}

type Providers = typeof import('@aws-sdk/credential-providers')
type ChainOptions = NonNullable<Parameters<Providers['fromNodeProviderChain']>[0]>

/** The profile that the option or the environment names. */
export function namedProfile(
  options: Pick<AwsOptions, 'aws_profile'>,
  environment: KeyContext['environment'],
): string | undefined {
  return options.aws_profile ?? (environment.AWS_PROFILE || undefined)
}

/**
 * Says how to get the keys that sign: the given ones, a named profile's, or those of the default chain, and with them
 * those of a role, through the agents where there are some. Each call asks anew, past the SDK's caches, because it is
 * made when the previous answer has expired or was refused.
 */
export async function keyProvider(options: AwsOptions, context: KeyContext): Promise<KeyProvider> {
  const { aws_access_key_id: accessKeyId, role_arn: role } = options
  if (accessKeyId !== undefined && role === undefined) return async () => givenKeys(options, accessKeyId)
  const providers = await loadPackage(
    '@aws-sdk/credential-providers',
    () => import('@aws-sdk/credential-providers'),
    context.neededFor ?? 'auth_method=iam',
  )
  const { region, environment, agents, requestLimitMillis, assumeRole } = context
  const throughProxy = agents === undefined ? {} : { httpAgent: agents.http, httpsAgent: agents.https }
  const clientConfig = { region, requestHandler: throughProxy }
  // The SDK's limit for metadata services is 1 s, which a busy one does not always keep; supervise() has ours.
  const shared: ChainOptions = { ignoreCache: true, clientConfig, timeout: 2 * requestLimitMillis, maxRetries: 0 }
  const profile = namedProfile(options, environment)
  const base: KeyProvider =
    profile === undefined
      ? () => defaultKeys(providers, shared, environment)
      : () => providers.fromIni({ ...shared, profile })()
  if (role === undefined) return base
  return () =>
    providers.fromTemporaryCredentials({
      masterCredentials: accessKeyId === undefined ? base : givenKeys(options, accessKeyId),
      params: {
        RoleSessionName: options.role_session_name,
        ExternalId: options.external_id,
        ...assumeRole,
        RoleArn: role,
      },
      clientConfig,
    })()
}

/**
 * The SDK's default chain, which goes on to the machine's role when a step yields no keys. An identity that the
 * environment or the default profile names is not replaced in that way: its failure is the answer.
 */
async function defaultKeys(
  providers: Providers,
  shared: ChainOptions,
  environment: KeyContext['environment'],
): Promise<AwsKeys> {
  refuseHalf(environment, 'AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY')
  refuseHalf(environment, 'AWS_SECRET_ACCESS_KEY', 'AWS_ACCESS_KEY_ID')
  refuseHalf(environment, 'AWS_WEB_IDENTITY_TOKEN_FILE', 'AWS_ROLE_ARN')
  await refuseContent(environment.AWS_WEB_IDENTITY_TOKEN_FILE)
  if (environment.AWS_WEB_IDENTITY_TOKEN_FILE) {
    await assertTokenFile(environment.AWS_WEB_IDENTITY_TOKEN_FILE, 'AWS_WEB_IDENTITY_TOKEN_FILE')
  }
  if (!environment.AWS_ACCESS_KEY_ID) {
    try {
      return await providers.fromIni({ ...shared, profile: 'default' })()
    } catch (error) {
      if (!isWithoutKeys(error)) throw error
      await refuseIncomplete('default')
    }
  }
  return providers.fromNodeProviderChain(shared)()
}

function refuseHalf(environment: KeyContext['environment'], one: string, other: string): void {
  if (!environment[one] || environment[other]) return
  throw new PoolsmithError(`The environment sets ${one}, but not ${other}.`, {
    code: 'CREDENTIAL_MISSING',
    phase: 'credential',
    hint: `Set ${other} too, or unset ${one}: no other identity is used in its place.`,
  })
}

/** The token itself in place of its file: the SDK would repeat it, as the name of a file that does not exist. */
async function refuseContent(file: string | undefined): Promise<void> {
  if (!file || isPlausiblePath(file) || (await isThere(file))) return
  throw new PoolsmithError(`The environment sets AWS_WEB_IDENTITY_TOKEN_FILE to ${shownPath(file)}.`, {
    code: 'CREDENTIAL_MISSING',
    phase: 'credential',
    hint: 'Set it to the path of the file that holds the token.',
  })
}

async function isThere(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  )
}

/** The SDK's words for a profile that does not exist, or has no setting that leads to keys. */
function isWithoutKeys(error: unknown): boolean {
  return isError(error) && error.message.startsWith('Could not resolve credentials using profile')
}

function givenKeys(options: AwsOptions, accessKeyId: string): AwsKeys {
  return {
    accessKeyId,
    secretAccessKey: options.aws_secret_access_key?.reveal() ?? '',
    sessionToken: options.aws_session_token?.reveal(),
  }
}
