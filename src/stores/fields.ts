/** The options of references to stores of secrets, which every connection takes. */

import { type Fields, LONGEST_TIMER_SECONDS, path, seconds, text, type ValuesOf } from '../connections/fields.ts'
import type { Reference } from '../connections/reference.ts'
import { type AwsOptions, awsFields } from '../strategies/aws/fields.ts'
import { type AzureOptions, azureFields } from '../strategies/azure/fields.ts'
import { type GoogleOptions, googleFields, googleLoginFields } from '../strategies/google/fields.ts'
import { type VaultLoginOptions, vaultLoginFields } from '../strategies/vault-login.ts'
import { vaultFields } from '../vault/fields.ts'

export const storeFields = {
  secrets_ttl: seconds({
    default: 300,
    min: 1,
    max: LONGEST_TIMER_SECONDS,
    description:
      'How long a secret of a remote store is used before it is read again, while the pool is in use. Files, variables and mounted folders are read every second. A refused login reads all of them at once.',
  }),
  secrets_grace: seconds({
    default: 3600,
    description:
      'How much longer a secret is used while its store is down (no answer, sealed, throttled); the event `secret:stale` says so each time.',
  }),
  k8s_account_folder: text({
    default: '/var/run/secrets/kubernetes.io/serviceaccount',
    description:
      'For `k8s:namespace/name#key`: the folder with the token and `ca.crt` of the service account, read again at each request.',
  }),
  k8s_timeout: seconds({
    default: 5,
    min: 0.1,
    max: LONGEST_TIMER_SECONDS,
    description: 'How long one request to the API of Kubernetes may take.',
  }),
  secrets_file: path({
    description: 'For `encrypted:name#field`: the encrypted file of secrets. Default: POOLSMITH_SECRETS_FILE.',
  }),
  secrets_key_file: path({
    description:
      'The file with its key. Default: POOLSMITH_SECRETS_KEY (the key itself), POOLSMITH_SECRETS_KEY_FILE or POOLSMITH_SECRETS_KEY_COMMAND.',
  }),
  aws_endpoint_url: text({
    aliases: ['endpoint_url'],
    description:
      'For `aws-sm:` and `aws-ssm:`: the address of the service, such as that of a VPC endpoint. Default: AWS_ENDPOINT_URL_SECRETS_MANAGER or AWS_ENDPOINT_URL_SSM, then AWS_ENDPOINT_URL, then the public one of the region.',
  }),
  ...googleFields,
  ...vaultFields,
} as const

/** The tables of strategies by whose options a store logs in. They count where a reference names the store. */
const LOGINS = {
  'aws-sm': awsFields,
  'aws-ssm': awsFields,
  'azure-kv': azureFields,
  'gcp-sm': googleLoginFields,
} as const

/** The values of a connection's options for its stores: those of a login, where a reference names its store. */
export type StoreFieldValues = ValuesOf<typeof storeFields> &
  Partial<AwsOptions & AzureOptions & GoogleOptions & VaultLoginOptions>

/** The encrypted file of secrets; undefined where none is named. */
export function secretsFileOf(
  { secrets_file: file }: Pick<StoreFieldValues, 'secrets_file'>,
  environment: Readonly<Record<string, string | undefined>>,
): string | undefined {
  return file ?? (environment.POOLSMITH_SECRETS_FILE || undefined)
}

/**
 * The options by which the stores of these kinds log in, beside those that every connection takes.
 *
 * @param given options, among which is `vault_auth`
 */
export function loginFields(
  schemes: Iterable<Reference['scheme']>,
  given: Readonly<Record<string, unknown>> = {},
): Fields {
  const all: Readonly<Partial<Record<Reference['scheme'], Fields>>> = { ...LOGINS, vault: vaultLoginFields(given) }
  return Object.assign({}, ...[...schemes].map((scheme) => all[scheme]))
}
