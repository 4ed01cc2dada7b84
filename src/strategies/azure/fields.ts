import {
  boolean,
  LONGEST_TIMER_SECONDS,
  oneOf,
  path,
  seconds,
  secret,
  text,
  type ValuesOf,
} from '../../connections/fields.ts'
import { credentialTimeout } from '../credential-timeout.ts'
import { CLOUDS } from './cloud.ts'

/** The time before and after the sign-in of a person: for requests to Entra, and opening the connection. */
export const SIGN_IN_GRACE_SECONDS = 30

const CREDENTIALS = [
  'default',
  'service_principal',
  'managed_identity',
  'workload_identity',
  'cli',
  'password',
  'interactive',
  'device_code',
  'integrated',
] as const
export type AzureCredentialKind = (typeof CREDENTIALS)[number]

export const azureFields = {
  azure_credential: oneOf(CREDENTIALS, {
    aliases: ['credential'],
    description:
      'Where the token comes from. Without it the other options decide: a secret or a certificate means service_principal, a token file workload_identity, a managed_identity_* option managed_identity; none of them means default: the identity that the AZURE_* variables name, alone, and where they name none the chain of DefaultAzureCredential. A person signs in only if you select it: password (which fails where a second factor is required, and Microsoft advises against it), interactive in the browser of this machine, or device_code in any other browser. integrated exchanges a Kerberos ticket for the token, where the domain is federated with AD FS.',
  }),
  tenant_id: text({
    aliases: ['azure_tenant_id', 'tenantId'],
    description:
      'The Entra tenant (directory): its id or one of its domains. Default, for a person and under integrated: the one of the account.',
  }),
  client_id: text({
    aliases: ['azure_client_id', 'clientId'],
    description:
      'The application (client) id of the service principal or of the workload identity; for a person and under integrated, of the public client that is signed in to (default: that of the Azure CLI).',
  }),
  client_secret: secret({
    aliases: ['azure_client_secret'],
    description: "The service principal's secret (its value, not its id).",
  }),
  client_expires: text({
    pattern: { matches: /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2})?Z)?$/, expected: 'a day such as 2027-03-31' },
    description:
      'When client_secret ends, as Entra showed it, for `poolsmith rotation`: no application may ask Entra for it.',
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
  azure_username: text({
    description:
      "The name (UPN) of the person who signs in. Default: the connection's login; under integrated only one with an @ in it, else the principal of the ticket.",
  }),
  credential_timeout: credentialTimeout,
  sign_in_timeout: seconds({
    default: 180,
    min: 1,
    max: LONGEST_TIMER_SECONDS,
    description:
      'How long a person may take to sign in, under interactive and device_code. pool_timeout is then 30 s longer by default.',
  }),
  principal: text({
    description:
      'Under integrated: the client principal, `etl@EXAMPLE.COM`. Default: the principal of the ticket cache.',
  }),
  keytab: path({
    description:
      'Under integrated: gets and refreshes the ticket by this keytab, without kinit. Default: none; the ticket must be in the cache.',
  }),
  ccache: path({
    description:
      "Under integrated: the ticket cache. Default: KRB5CCNAME or krb5.conf's; with a keytab one in memory of the pool's own.",
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

/** The credential that the options mean when `azure_credential` is not set. */
export function credentialKind(options: AzureOptions): AzureCredentialKind {
  const { azure_credential: chosen } = options
  if (chosen !== undefined && chosen !== 'default') return chosen
  if (options.client_secret !== undefined || options.client_certificate_path !== undefined) return 'service_principal'
  if (options.federated_token_file !== undefined) return 'workload_identity'
  if (options.managed_identity_client_id !== undefined || options.managed_identity_resource_id !== undefined) {
    // Microsoft's ActiveDirectoryDefault: a login that names a managed or a workload identity.
    return chosen === 'default' && options.client_id !== undefined ? 'default' : 'managed_identity'
  }
  return 'default'
}

/** Whether a person has to sign in at a screen. */
export function asksPerson(kind: AzureCredentialKind): kind is 'interactive' | 'device_code' {
  return kind === 'interactive' || kind === 'device_code'
}
