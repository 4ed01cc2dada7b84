import { boolean, oneOf, path, secret, text, type ValuesOf } from '../../connections/fields.ts'
import type { ConfigProblem } from '../../errors.ts'
import { CLOUDS } from './cloud.ts'

const CREDENTIALS = ['default', 'service_principal', 'managed_identity', 'workload_identity', 'cli'] as const
export type AzureCredentialKind = (typeof CREDENTIALS)[number]

export const azureFields = {
  azure_credential: oneOf(CREDENTIALS, {
    aliases: ['credential'],
    description:
      'Where the token comes from. Without it the other options decide: a secret or a certificate means service_principal, a token file workload_identity, a managed_identity_* option managed_identity; none of them means default, the chain of DefaultAzureCredential.',
  }),
  tenant_id: text({
    aliases: ['azure_tenant_id', 'tenantId'],
    description: 'The Entra tenant (directory): its id or one of its domains.',
  }),
  client_id: text({
    aliases: ['azure_client_id', 'clientId'],
    description: 'The application (client) id of the service principal or of the workload identity.',
  }),
  client_secret: secret({
    aliases: ['azure_client_secret'],
    description: "The service principal's secret (its value, not its id).",
  }),
  client_certificate_path: path({
    description:
      "A PEM file with the service principal's certificate and its private key, instead of client_secret. Read again at each renewal.",
  }),
  client_certificate_password: secret({ description: 'The password of the private key in client_certificate_path.' }),
  managed_identity_client_id: text({ description: 'The client id of a user-assigned managed identity.' }),
  managed_identity_resource_id: text({
    description: 'The resource id of a user-assigned managed identity, instead of its client id.',
  }),
  federated_token_file: path({
    description:
      'The file with the token of a workload identity. Default, under workload_identity, is AZURE_FEDERATED_TOKEN_FILE.',
  }),
  cloud: oneOf(CLOUDS, {
    default: 'public',
    aliases: ['azure_cloud'],
    description: 'The national cloud: it decides the authority host and the scope.',
  }),
  authority_host: text({
    description: "The https address of the authority, in place of the cloud's own (Azure Stack, a private authority).",
  }),
  disable_instance_discovery: boolean({
    default: false,
    description: 'Trust authority_host without asking the public cloud about it: for disconnected and private clouds.',
  }),
  scope: text({ description: "The scope that the token is for, in place of the database's own in the cloud." }),
} as const

export type AzureOptions = ValuesOf<typeof azureFields>

/** What the options mean when `azure_credential` does not say it. */
export function credentialKind(options: AzureOptions): AzureCredentialKind {
  if (options.azure_credential !== undefined) return options.azure_credential
  if (options.client_secret !== undefined || options.client_certificate_path !== undefined) return 'service_principal'
  if (options.federated_token_file !== undefined) return 'workload_identity'
  if (options.managed_identity_client_id !== undefined || options.managed_identity_resource_id !== undefined) {
    return 'managed_identity'
  }
  return 'default'
}

/** Everything that does not fit together, at once. */
export function azureProblems(
  options: AzureOptions,
  environment: Readonly<Record<string, string | undefined>>,
): ConfigProblem[] {
  const kind = credentialKind(options)
  const problems: ConfigProblem[] = []
  const need = (key: keyof AzureOptions, variable?: string): void => {
    if (options[key] !== undefined || (variable !== undefined && environment[variable])) return
    const or = variable === undefined ? '' : `, or ${variable} in the environment`
    problems.push({ path: `extra.${key}`, message: `azure_credential ${kind} needs it${or}` })
  }
  if (kind === 'service_principal') {
    need('tenant_id')
    need('client_id')
    if (options.client_certificate_path === undefined) need('client_secret')
    else if (options.client_secret !== undefined) {
      problems.push({ path: 'extra.client_secret', message: 'client_certificate_path is set too; keep one of them' })
    }
  }
  if (kind === 'workload_identity') {
    need('tenant_id', 'AZURE_TENANT_ID')
    need('client_id', 'AZURE_CLIENT_ID')
    need('federated_token_file', 'AZURE_FEDERATED_TOKEN_FILE')
  }
  if (options.managed_identity_client_id !== undefined && options.managed_identity_resource_id !== undefined) {
    problems.push({
      path: 'extra.managed_identity_resource_id',
      message: 'managed_identity_client_id is set too; keep one of them',
    })
  }
  if (options.authority_host !== undefined && !isHttps(options.authority_host)) {
    problems.push({ path: 'extra.authority_host', message: 'expected an address that begins with https://' })
  }
  return problems
}

function isHttps(address: string): boolean {
  return URL.canParse(address) && new URL(address).protocol === 'https:'
}
