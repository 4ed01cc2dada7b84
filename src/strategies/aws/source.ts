import type { CredentialSource } from '../../credentials/credential.ts'
import { refreshingSource } from '../../credentials/refreshing-source.ts'
import { loadPackage } from '../../optional-package.ts'
import { Secret } from '../../secret.ts'
import { LATE_METADATA_ATTEMPTS } from '../metadata.ts'
import { settled } from '../settled.ts'
import type { StrategyContext } from '../strategy.ts'
import { type SupervisedRequest, supervise } from '../supervise.ts'
import { awsFailure } from './failure.ts'
import type { AwsOptions } from './fields.ts'
import { keyProvider, namedProfile } from './keys.ts'
import { metadataTrouble } from './metadata-trouble.ts'
import { regionOfHost } from './region.ts'
import type { Endpoint, Target } from './target.ts'
import { tokenTimes } from './token.ts'

/** Tokens for one endpoint and those of the same list, signed by the keys that the options lead to. */
export async function tokenSource(
  target: Target,
  options: AwsOptions,
  { emit, environment, agents }: StrategyContext,
): Promise<CredentialSource> {
  const inHost = regionOfHost(target.host)
  if (inHost !== undefined && inHost !== target.region) {
    emit('config:warning', {
      path: 'extra.region',
      message: `says ${target.region}, but the host is in ${inHost}: the server will refuse the token`,
    })
  }
  const { Signer } = await loadPackage('@aws-sdk/rds-signer', () => import('@aws-sdk/rds-signer'), 'auth_method=iam')
  const requestLimitMillis = options.credential_timeout * 1000
  const keys = await keyProvider(options, { region: target.region, environment, agents, requestLimitMillis })
  // Given keys take precedence over a profile of the environment.
  const profile = options.aws_access_key_id === undefined ? namedProfile(options, environment) : undefined
  const secrets = [options.aws_secret_access_key, options.aws_session_token]
  return refreshingSource({
    emit,
    maxAttempts: options.aws_access_key_id === undefined ? LATE_METADATA_ATTEMPTS : undefined,
    fetch: settled(async (signal) => {
      const requests: SupervisedRequest[] = []
      try {
        const credentials = await supervise({ signal, requestLimitMillis, requests }, keys)
        const sign = async ({ host, port }: Endpoint): Promise<string> => {
          const { user: username, region } = target
          return await new Signer({
            hostname: host.toLowerCase(),
            port,
            username,
            region,
            credentials,
          }).getAuthToken()
        }
        const token = await sign(target)
        // A token is for one host and port. All are signed here, by the same keys.
        const tokens = await Promise.all(
          target.others.map(async (other) => [`${other.host}:${other.port}`, new Secret(await sign(other))] as const),
        )
        const { issuedAt, expiresAt } = tokenTimes(token)
        // A token that outlives the session keys which signed it is refused.
        const keysEnd = credentials.expiration?.getTime() ?? Number.POSITIVE_INFINITY
        return {
          kind: 'token',
          identity: options.role_arn ?? credentials.accessKeyId,
          user: target.user,
          token: new Secret(token),
          ...(tokens.length === 0 ? {} : { tokens: Object.fromEntries(tokens) }),
          issuedAt,
          expiresAt: Math.min(expiresAt, keysEnd),
        }
      } catch (error) {
        throw awsFailure(error, profile, secrets, metadataTrouble(requests, environment))
      }
    }),
  })
}
