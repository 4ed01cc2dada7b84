/** The options that say where Vault (or OpenBao) is and how to log in to it, with the variables of its own programs. */

import {
  boolean,
  integer,
  LONGEST_TIMER_SECONDS,
  list,
  oneOf,
  path,
  seconds,
  secret,
  text,
  type ValuesOf,
} from '../connections/fields.ts'
import type { ConfigProblem } from '../errors.ts'

const VAULT_LOGINS = [
  'token',
  'approle',
  'kubernetes',
  'jwt',
  'cert',
  'aws',
  'azure',
  'gcp',
  'kerberos',
  'github',
  'userpass',
  'ldap',
  'radius',
] as const

export const vaultFields = {
  vault_addr: text({
    description:
      'The address of Vault or OpenBao, such as `https://vault.example.com:8200`. `http` only to this machine, where an agent listens. Default: VAULT_ADDR.',
  }),
  vault_namespace: text({ description: 'The namespace. Default: VAULT_NAMESPACE.' }),
  vault_nodes: list({
    pattern: { matches: /^[\w.-]{1,255}$/, expected: 'names of hosts' },
    description:
      'The hosts of the other nodes, to which a standby may redirect a request. Default: none but the host of `vault_addr`; nodes forward requests unless they are told not to.',
  }),
  vault_auth: oneOf(VAULT_LOGINS, {
    default: 'token',
    description:
      'How to log in to Vault: a token that exists already, an AppRole, the service account of a Kubernetes pod, any signed JWT, a TLS client certificate, an identity of AWS, Azure or Google, a Kerberos ticket, a token of GitHub, or a user and password of Vault, LDAP or RADIUS.',
  }),
  vault_auth_mount: text({ description: 'Where the login method is mounted. Default: its name.' }),
  vault_token: secret({
    description:
      'The token. Default: VAULT_TOKEN, then `vault_token_file`. For `github` the personal access token, without a default.',
  }),
  vault_token_file: path({
    description:
      'A file with the token, as a Vault agent writes it; read again at each login. Default: `~/.vault-token`.',
  }),
  vault_username: text({ description: 'The user for `userpass`, `ldap` and `radius`.' }),
  vault_password: secret({ description: 'The password for `userpass`, `ldap` and `radius`.' }),
  vault_role_id: text({ description: 'The role id of the AppRole.' }),
  vault_secret_id: secret({ description: 'The secret id of the AppRole, where the role needs one.' }),
  vault_secret_id_file: path({ description: 'A file with the secret id, read again at each login.' }),
  vault_secret_id_wrapped: boolean({
    default: false,
    description:
      'The secret id is a wrapping token, which is unwrapped once. If it was unwrapped before, the secret id is known to another program.',
  }),
  vault_role: text({
    description:
      'The role for `kubernetes`, `jwt`, `aws`, `azure` and `gcp`, or the name of the certificate role for `cert`.',
  }),
  vault_jwt: secret({ description: 'The JWT itself for `jwt`, in place of `vault_jwt_file`.' }),
  vault_jwt_file: path({
    description:
      "The file with the JWT, read again at each login. Default for `kubernetes`: the pod's token in `/var/run/secrets/kubernetes.io/serviceaccount`.",
  }),
  vault_aws_region: text({
    pattern: { matches: /^[a-z]{2,}(-[a-z]+)+-\d{1,2}$/, expected: 'the name of an AWS region' },
    default: 'us-east-1',
    description:
      'For `aws`: the region of the STS that Vault asks who this is; that of its setting `sts_region`. `us-east-1` stands for the global endpoint.',
  }),
  vault_aws_server_id: text({
    description:
      'For `aws`: the value of X-Vault-AWS-IAM-Server-ID, where Vault asks for it (`iam_server_id_header_value`).',
  }),
  vault_aws_profile: text({
    description: 'For `aws`: a profile of the shared AWS files. Default: the default AWS chain, as for `iam`.',
  }),
  vault_aws_access_key_id: text({ description: 'For `aws`: an access key, instead of the default AWS chain.' }),
  vault_aws_secret_access_key: secret({ description: "The access key's secret." }),
  vault_aws_session_token: secret({ description: 'The session token of temporary keys.' }),
  vault_aws_role_arn: text({
    description: 'For `aws`: a role to assume first with the keys, the profile or the chain.',
  }),
  vault_aws_role_session_name: text({
    default: 'poolsmith',
    description: "The session's name under `vault_aws_role_arn`, as CloudTrail shows it.",
  }),
  vault_aws_external_id: text({
    description: 'The external id that the trust policy of `vault_aws_role_arn` asks for.',
  }),
  vault_azure_resource: text({
    description:
      "For `azure`: the resource of the token, which is the `resource` in Vault's configuration, such as `https://management.azure.com/`. The identity is that of the options of `azure_ad`.",
  }),
  vault_azure_subscription_id: text({
    description: 'For `azure`: the subscription of this machine, for a role that is bound to machines.',
  }),
  vault_azure_resource_group: text({ description: 'For `azure`: the resource group of this machine.' }),
  vault_azure_vm: text({ description: 'For `azure`: the name of this machine.' }),
  vault_azure_scale_set: text({ description: 'For `azure`: the scale set of this machine, in place of its name.' }),
  vault_kerberos_service: text({
    description:
      'For `kerberos`: the principal of Vault, such as `HTTP/vault.example.com@EXAMPLE.COM`. Default: HTTP on the host of `vault_addr`. The ticket is that of the options `principal`, `keytab` and `ccache`.',
  }),
  vault_ca_file: path({
    description:
      'PEM file with the authorities that sign the certificate of Vault. Default: VAULT_CACERT, then those that Node trusts.',
  }),
  vault_client_cert: path({
    description: 'PEM file with the client certificate for Vault. Default: VAULT_CLIENT_CERT.',
  }),
  vault_client_key: path({ description: 'PEM file with its private key. Default: VAULT_CLIENT_KEY.' }),
  vault_kv_version: integer({
    min: 1,
    max: 2,
    description:
      'The version of the key-value engine. Default: asked of Vault; set it where the policy forbids that (the mount is then the first part of the path).',
  }),
  vault_timeout: seconds({
    default: 5,
    min: 0.1,
    max: LONGEST_TIMER_SECONDS,
    description: 'How long one request to Vault may take.',
  }),
} as const

export type VaultOptions = ValuesOf<typeof vaultFields>

/** Whether a name or address can only be this machine. */
function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname)
}

/** Whether secrets may be sent there: over TLS, or without leaving this machine (an agent beside the program). */
export function isProtected({ protocol, hostname }: URL): boolean {
  return protocol === 'https:' || (protocol === 'http:' && isLoopback(hostname))
}

type Environment = Readonly<Record<string, string | undefined>>

/** Options that name another identity than the bearer of a token. */
const OF_OTHER_LOGINS = [
  'vault_username',
  'vault_password',
  'vault_secret_id',
  'vault_secret_id_file',
  'vault_role',
  'vault_jwt',
  'vault_jwt_file',
  'vault_aws_profile',
  'vault_aws_access_key_id',
  'vault_aws_role_arn',
  'vault_azure_resource',
  'vault_kerberos_service',
] as const

/** The contradictions between the options, for a connection that uses Vault. */
export function vaultProblems(options: VaultOptions, environment: Environment): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  const say = (name: keyof VaultOptions, message: string): void => {
    problems.push({ path: `extra.${name}`, message })
  }
  const address = options.vault_addr ?? environment.VAULT_ADDR ?? ''
  if (address === '') say('vault_addr', 'missing; set it, or VAULT_ADDR, to an address such as https://vault:8200')
  else if (!isAddress(address)) {
    say('vault_addr', 'expected https://host:port (or http to this machine alone), without a login, path or query')
  }
  if (options.vault_ca_file !== undefined && address.startsWith('http:')) {
    say('vault_ca_file', 'checks nothing over http; write https in vault_addr, or leave it out')
  }
  const method = options.vault_auth
  const needs = (name: keyof VaultOptions): void => {
    if (options[name] === undefined) say(name, `vault_auth=${method} needs it`)
  }
  if (method === 'approle') needs('vault_role_id')
  else if (options.vault_role_id !== undefined) say('vault_role_id', `has no effect under vault_auth=${method}`)
  // The token would be that of the environment, or of the person who runs this.
  if (method === 'token' && (options.vault_token ?? options.vault_token_file) === undefined) {
    for (const name of OF_OTHER_LOGINS) {
      if (options[name] !== undefined) say(name, 'has no effect under vault_auth=token; set vault_auth to its method')
    }
  }
  if (['kubernetes', 'jwt', 'azure', 'gcp'].includes(method)) needs('vault_role')
  if (method === 'azure') needs('vault_azure_resource')
  if (method === 'github' && options.vault_token === undefined) needs('vault_token_file')
  if (method === 'jwt' && options.vault_jwt === undefined) needs('vault_jwt_file')
  if (['userpass', 'ldap', 'radius'].includes(method)) {
    needs('vault_username')
    needs('vault_password')
  }
  const certificate = options.vault_client_cert ?? (environment.VAULT_CLIENT_CERT || undefined)
  const key = options.vault_client_key ?? (environment.VAULT_CLIENT_KEY || undefined)
  if (method === 'cert' && certificate === undefined) needs('vault_client_cert')
  if (options.vault_aws_access_key_id !== undefined) needs('vault_aws_secret_access_key')
  else if (options.vault_aws_secret_access_key ?? options.vault_aws_session_token) needs('vault_aws_access_key_id')
  if (options.vault_aws_access_key_id !== undefined && options.vault_aws_profile !== undefined) {
    say('vault_aws_profile', 'vault_aws_access_key_id is set too; keep one of them')
  }
  if (certificate !== undefined && key === undefined) say('vault_client_key', 'the client certificate needs it')
  if (key !== undefined && certificate === undefined) say('vault_client_cert', 'the client key needs it')
  if (options.vault_secret_id !== undefined && options.vault_secret_id_file !== undefined) {
    say('vault_secret_id_file', 'vault_secret_id is set too; keep one of them')
  }
  if (options.vault_token !== undefined && options.vault_token_file !== undefined) {
    say('vault_token_file', 'vault_token is set too; keep one of them')
  }
  return problems
}

function isAddress(address: string): boolean {
  if (!URL.canParse(address)) return false
  const url = new URL(address)
  const { username, password, pathname, search, hash } = url
  return isProtected(url) && [username, password, search, hash].every((part) => part === '') && pathname === '/'
}
