import type { Connection } from '../connections/connection.ts'
import { hostsOf } from '../connections/host-list.ts'
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
  },
})

interface Endpoint {
  readonly host: string
  readonly port: number
}

interface Target extends Endpoint {
  /** The further hosts of a list. */
  readonly others: readonly Endpoint[]
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
  const [first, ...others] = hostsOf(connection).map((one) => ({
    host: one.host ?? '',
    port: one.port ?? DEFAULT_PORT,
  }))
  const host = (endpoint?.host ?? first?.host ?? '').toLowerCase()
  const port = endpoint?.port ?? first?.port ?? DEFAULT_PORT
  if (endpoint !== undefined && others.length > 0) {
    const message = 'names one server, and host lists several; leave it out, so that each gets a token of its own'
    problems.push({ path: 'extra.rds_endpoint', message })
  }
  const elsewhere = others.find((other) => regionOfHost(other.host) !== regionOfHost(host))
  if (elsewhere !== undefined && options.region === undefined) {
    problems.push({
      path: 'extra.region',
      message: 'is missing; the hosts of the list do not all name the same region',
    })
  }
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
  return { host, port, others, user, region, problems }
}

function parseEndpoint(endpoint: string): { host: string; port?: number } | undefined {
  const match = /^([^\s:/]+)(?::(\d{1,5}))?$/.exec(endpoint)
  if (match === null) return undefined
  const [, host = '', port] = match
  return port === undefined ? { host } : { host, port: Number(port) }
}
