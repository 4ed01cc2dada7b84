import type { Connection } from '../connections/connection.ts'
import { refreshingSource } from '../credentials/refreshing-source.ts'
import type { ConfigProblem } from '../errors.ts'
import { loadPackage } from '../optional-package.ts'
import { Secret } from '../secret.ts'
import { awsFailure } from './aws/failure.ts'
import { type AwsOptions, awsFields, awsProblems } from './aws/fields.ts'
import { keyProvider, namedProfile } from './aws/keys.ts'
import { metadataTrouble } from './aws/metadata-trouble.ts'
import { regionOfHost } from './aws/region.ts'
import { tokenTimes } from './aws/token.ts'
import { LATE_METADATA_ATTEMPTS } from './metadata.ts'
import { refuse } from './refuse.ts'
import { settled } from './settled.ts'
import { defineStrategy } from './strategy.ts'
import { type SupervisedRequest, supervise } from './supervise.ts'

const DEFAULT_PORT = 5432

export const iam = defineStrategy({
  name: 'iam',
  aliases: ['aws_iam'],
  dialects: ['postgres'],
  description: 'An AWS IAM token for RDS and Aurora, signed here for 15 minutes with the keys that AWS gives us.',
  fields: awsFields,
  defaults: { sslmode: 'verify-full' },
  check: (connection, options, environment) => targetOf(connection, options, environment).problems,
  async credentials(connection, options, { emit, environment, agents }) {
    const target = targetOf(connection, options, environment)
    refuse(target.problems)
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
          const signer = new Signer({
            hostname: target.host,
            port: target.port,
            username: target.user,
            region: target.region,
            credentials,
          })
          const token = await signer.getAuthToken()
          const { issuedAt, expiresAt } = tokenTimes(token)
          // A token that outlives the session keys which signed it is refused.
          const keysEnd = credentials.expiration?.getTime() ?? Number.POSITIVE_INFINITY
          return {
            kind: 'token',
            identity: options.role_arn ?? credentials.accessKeyId,
            user: target.user,
            token: new Secret(token),
            issuedAt,
            expiresAt: Math.min(expiresAt, keysEnd),
          }
        } catch (error) {
          throw awsFailure(error, profile, secrets, metadataTrouble(requests, environment))
        }
      }),
    })
  },
})

interface Target {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly region: string
  readonly problems: readonly ConfigProblem[]
}

/** The endpoint that the token is signed for. The region in the host name precedes that of the environment. */
function targetOf(
  connection: Connection,
  options: AwsOptions,
  environment: Readonly<Record<string, string | undefined>>,
): Target {
  const problems: ConfigProblem[] = awsProblems(options)
  const endpoint = options.rds_endpoint === undefined ? undefined : parseEndpoint(options.rds_endpoint)
  if (options.rds_endpoint !== undefined && endpoint === undefined) {
    problems.push({ path: 'extra.rds_endpoint', message: 'expected host or host:port' })
  }
  const host = (endpoint?.host ?? connection.host ?? '').toLowerCase()
  const port = endpoint?.port ?? connection.port ?? DEFAULT_PORT
  const user = connection.login ?? ''
  const region = options.region || regionOfHost(host) || environment.AWS_REGION || environment.AWS_DEFAULT_REGION || ''
  if (host === '') problems.push({ path: 'host', message: 'auth_method iam needs the host that the token is for' })
  if (user === '') problems.push({ path: 'login', message: 'auth_method iam needs the database user' })
  if (region === '' && host !== '') {
    problems.push({
      path: 'extra.region',
      message: `the host ${host} does not say its AWS region; set region, or AWS_REGION in the environment`,
    })
  }
  return { host, port, user, region, problems }
}

function parseEndpoint(endpoint: string): { host: string; port?: number } | undefined {
  const match = /^([^\s:/]+)(?::(\d{1,5}))?$/.exec(endpoint)
  if (match === null) return undefined
  const [, host = '', port] = match
  return port === undefined ? { host } : { host, port: Number(port) }
}
