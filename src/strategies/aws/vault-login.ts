/**
 * The proof of an AWS identity for Vault: a signed request for GetCallerIdentity, which Vault sends to AWS' STS in place of
 * this process (https://developer.hashicorp.com/vault/docs/auth/aws#iam-auth-method).
 */

import type { AwsProof, VaultProofs } from '../../vault/context.ts'
import type { VaultOptions } from '../../vault/fields.ts'
import { supervise } from '../supervise.ts'
import { awsFailure } from './failure.ts'
import type { AwsOptions } from './fields.ts'
import { type KeyContext, keyProvider, namedProfile } from './keys.ts'
import { signedHeaders } from './sign.ts'

/** The one endpoint that is not a region's own signs for this region. */
const GLOBAL_REGION = 'us-east-1'
const BODY = 'Action=GetCallerIdentity&Version=2011-06-15'

/** The proof for vault_auth=aws. */
export function awsProver(
  options: VaultOptions,
  { environment, agents, assumeRole }: Pick<KeyContext, 'environment' | 'agents' | 'assumeRole'>,
): VaultProofs['aws'] {
  const { vault_aws_region: region, vault_aws_server_id: serverId, vault_timeout: timeout } = options
  const aws: AwsOptions = {
    region,
    aws_profile: options.vault_aws_profile,
    aws_access_key_id: options.vault_aws_access_key_id,
    aws_secret_access_key: options.vault_aws_secret_access_key,
    aws_session_token: options.vault_aws_session_token,
    role_arn: options.vault_aws_role_arn,
    role_session_name: options.vault_aws_role_session_name,
    external_id: options.vault_aws_external_id,
    credential_timeout: timeout,
    rds_endpoint: undefined,
  }
  const requestLimitMillis = timeout * 1000
  return async (signal, now): Promise<AwsProof> => {
    try {
      const provide = await keyProvider(aws, {
        region,
        environment,
        agents,
        requestLimitMillis,
        assumeRole,
        neededFor: 'vault_auth=aws',
      })
      const keys = await supervise({ signal, requestLimitMillis }, provide)
      const url = stsOf(region)
      const headers = {
        'content-type': 'application/x-www-form-urlencoded; charset=utf-8',
        ...(serverId === undefined ? {} : { 'x-vault-aws-iam-server-id': serverId }),
      }
      const scope = { region, service: 'sts', date: new Date(now) }
      return { url, body: BODY, headers: signedHeaders({ method: 'POST', url, headers, body: BODY }, scope, keys) }
    } catch (error) {
      signal.throwIfAborted()
      const profile = aws.aws_access_key_id === undefined ? namedProfile(aws, environment) : undefined
      const secrets = [aws.aws_secret_access_key, aws.aws_session_token]
      throw awsFailure(error, profile, secrets, undefined, 'The AWS keys for the login to Vault could not be obtained')
    }
  }
}

function stsOf(region: string): URL {
  if (region === GLOBAL_REGION) return new URL('https://sts.amazonaws.com/')
  return new URL(`https://sts.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}/`)
}
