import { secret, text, type ValuesOf } from '../../connections/fields.ts'
import type { ConfigProblem } from '../../errors.ts'
import { credentialTimeout } from '../credential-timeout.ts'

export const awsFields = {
  region: text({
    aliases: ['region_name', 'aws_region'],
    description:
      'The AWS region of the database. Default is the one in the RDS host name, then AWS_REGION, then AWS_DEFAULT_REGION.',
  }),
  aws_profile: text({
    aliases: ['profile', 'profile_name'],
    description: 'The profile of the shared AWS config and credentials files. Default is the default AWS chain.',
  }),
  aws_access_key_id: text({ description: 'An access key, instead of the default AWS chain.' }),
  aws_secret_access_key: secret({ description: "The access key's secret." }),
  aws_session_token: secret({ description: 'The session token of temporary keys.' }),
  role_arn: text({
    aliases: ['aws_role_arn', 'assume_role_arn'],
    description: 'A role to assume with the keys, the profile or the chain before the token is signed.',
  }),
  role_session_name: text({
    default: 'poolsmith',
    description: "The session's name under role_arn, as CloudTrail shows it.",
  }),
  external_id: text({ description: 'The external id that the trust policy of role_arn asks for.' }),
  credential_timeout: credentialTimeout,
  rds_endpoint: text({
    description:
      "The database's own endpoint, `host` or `host:port`, when the connection goes through a tunnel or a name of yours: the token is signed for it. Default is the connection's host and port.",
  }),
} as const

export type AwsOptions = ValuesOf<typeof awsFields>

export function awsProblems(options: AwsOptions): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  const { aws_access_key_id: id, aws_secret_access_key: key, aws_session_token: session } = options
  if (id !== undefined && key === undefined) {
    problems.push({ path: 'extra.aws_secret_access_key', message: 'aws_access_key_id needs it' })
  }
  if (id === undefined && (key !== undefined || session !== undefined)) {
    problems.push({ path: 'extra.aws_access_key_id', message: 'the other keys are of no use without it' })
  }
  if (id !== undefined && options.aws_profile !== undefined) {
    problems.push({ path: 'extra.aws_profile', message: 'aws_access_key_id is set too; keep one of them' })
  }
  if (options.external_id !== undefined && options.role_arn === undefined) {
    problems.push({ path: 'extra.external_id', message: 'it means something only together with role_arn' })
  }
  return problems
}
