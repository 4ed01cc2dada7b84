/** The options of Secrets Manager and the Parameter Store, which log in by those of the strategy `iam`. */

import type { Connection } from '../../connections/connection.ts'
import { hostsOf } from '../../connections/host-list.ts'
import type { ConfigProblem } from '../../errors.ts'
import { type AwsOptions, awsProblems } from '../../strategies/aws/fields.ts'
import { regionOfHost } from '../../strategies/aws/region.ts'
import { isProtected } from '../../vault/fields.ts'

export interface AwsStoreOptions extends AwsOptions {
  readonly aws_endpoint_url: string | undefined
}

export type AwsService = 'aws-sm' | 'aws-ssm'

type Environment = Readonly<Record<string, string | undefined>>

const ENDPOINT_VARIABLES: Readonly<Record<AwsService, string>> = {
  'aws-sm': 'AWS_ENDPOINT_URL_SECRETS_MANAGER',
  'aws-ssm': 'AWS_ENDPOINT_URL_SSM',
}

/** The address that is named in place of the region's public one. */
export function endpointOf(
  service: AwsService,
  { aws_endpoint_url: given }: AwsStoreOptions,
  environment: Environment,
): string | undefined {
  return given ?? (environment[ENDPOINT_VARIABLES[service]] || environment.AWS_ENDPOINT_URL || undefined)
}

/** The region of a secret: that of its ARN, of the option, of an RDS host, of the environment. */
export function regionOfSecret(
  path: string,
  { region }: Pick<AwsOptions, 'region'>,
  environment: Environment,
  connection: Pick<Connection, 'host' | 'port'>,
): string | undefined {
  const inArn = path.startsWith('arn:') ? path.split(':')[3] : undefined
  const inHost = regionOfHost(hostsOf(connection)[0]?.host ?? '')
  return inArn || region || inHost || environment.AWS_REGION || environment.AWS_DEFAULT_REGION || undefined
}

/** The contradictions between the options, for a connection with secrets at these paths of one service. */
export function awsStoreProblems(
  service: AwsService,
  paths: readonly string[],
  options: AwsStoreOptions,
  environment: Environment,
  connection: Pick<Connection, 'host' | 'port'>,
): readonly ConfigProblem[] {
  const problems = awsProblems(options)
  const endpoint = endpointOf(service, options, environment)
  if (endpoint !== undefined && !isStoreAddress(endpoint)) {
    const message = `expected https://host (or http to this machine alone) for ${service}, without a login or query; it comes from the option or from ${ENDPOINT_VARIABLES[service]} or AWS_ENDPOINT_URL`
    problems.push({ path: 'extra.aws_endpoint_url', message })
  }
  const placeless = paths.find((path) => regionOfSecret(path, options, environment, connection) === undefined)
  if (placeless !== undefined) {
    const message = `missing: ${service}:${placeless} does not say its AWS region; set region, or AWS_REGION in the environment`
    problems.push({ path: 'extra.region', message })
  }
  return problems
}

/** Whether secrets may be asked for at an address. */
export function isStoreAddress(text: string): boolean {
  if (!URL.canParse(text)) return false
  const url = new URL(text)
  return isProtected(url) && url.username === '' && url.password === '' && url.search === '' && url.hash === ''
}
