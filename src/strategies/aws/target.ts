import type { Connection } from '../../connections/connection.ts'
import { hostsOf } from '../../connections/host-list.ts'
import type { ConfigProblem } from '../../errors.ts'
import { type AwsOptions, awsProblems } from './fields.ts'
import { regionOfHost } from './region.ts'

const DEFAULT_PORT = 5432

export interface Endpoint {
  readonly host: string
  readonly port: number
}

export interface Target extends Endpoint {
  /** The further hosts of a list. */
  readonly others: readonly Endpoint[]
  readonly user: string
  readonly region: string
  readonly problems: readonly ConfigProblem[]
}

/** The endpoint that the token is signed for. The region in the host name precedes that of the environment. */
export function targetOf(
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
