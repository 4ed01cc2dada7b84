/** Airflow's VaultBackend, and its keyword arguments (providers/hashicorp). */

import { boolean, integer, list, oneOf, parseFields, path, seconds, secret, text } from '../../connections/fields.ts'
import type { ConnectionInput } from '../../connections/parse.ts'
import { isStorePath } from '../../connections/reference.ts'
import { ConfigError } from '../../errors.ts'
import { googleFields } from '../../strategies/google/fields.ts'
import { type VaultLoginOptions, vaultLoginFields } from '../../strategies/vault-login.ts'
import { vaultLoginProblems } from '../../strategies/vault-login-problems.ts'
import { vaultProofs } from '../../strategies/vault-proofs.ts'
import { vaultFields } from '../../vault/fields.ts'
import type { StoredSecret } from '../../vault/stored-secret.ts'
import { CachedReader } from '../cache.ts'
import type { StoreKindContext } from '../kind.ts'
import type { Store } from '../store.ts'
import { vaultReader } from '../vault.ts'
import { assumeRoleProblems } from './assume-role.ts'
import { type Kwargs, object, prefixes, readKwargs } from './kwargs.ts'
import { type OptionsByArgument, refuse } from './our-options.ts'
import { type ReadValue, storeOver } from './over-reader.ts'

const off = '; `null` turns these look-ups off'
const SET_IN_VAULT =
  "the RADIUS server, which Vault's own configuration names. It is accepted and not sent: Airflow writes it to that configuration."

const LOGINS = [
  'token',
  'approle',
  'kubernetes',
  'jwt',
  'userpass',
  'ldap',
  'radius',
  'github',
  'aws_iam',
  'azure',
  'gcp',
  'cert',
  'kerberos',
] as const

export const vaultKwargs = {
  connections_path: prefixes({
    default: 'connections',
    description: `The path of connections below the mount, or a list of paths that are tried in order${off}.`,
  }),
  variables_path: prefixes({ default: 'variables', description: `The path of variables${off}.` }),
  config_path: prefixes({ default: 'config', description: `The path of configuration${off}.` }),
  use_team_secrets_path: boolean({
    default: true,
    description: 'For a team, look under `<path>/<team>` alone.',
  }),
  global_secrets_path: text({ description: 'Deprecated in Airflow: one more path, which is tried last.' }),
  url: text({ description: 'The address of Vault. Default: VAULT_ADDR.' }),
  auth_type: oneOf(LOGINS, {
    default: 'token',
    description:
      'How to log in. Two are ours: `cert` takes `cert`, and `cert_role` for the name of its role; `kerberos` takes a ticket.',
  }),
  auth_mount_point: text({ description: 'Where the login method is mounted. Default: its name.' }),
  mount_point: text({
    default: 'secret',
    description: 'Where the engine is mounted; `null`: the first part of each id is the mount.',
  }),
  kv_engine_version: integer({ default: 2, min: 1, max: 2, description: 'The version of the key-value engine.' }),
  token: secret({ description: 'The token. Default: VAULT_TOKEN. For `github`: the personal access token.' }),
  token_path: path({ description: 'A file with the token.' }),
  username: text({ description: 'For `userpass`, `ldap` and `radius`.' }),
  password: secret({ description: 'For `userpass`, `ldap` and `radius`.' }),
  role_id: text({ description: 'The role id of the AppRole, or the role for `aws_iam`, `azure` and `gcp`.' }),
  secret_id: secret({
    description:
      'The secret id of the AppRole; for `aws_iam` the secret of the access key, for `azure` that of the application.',
  }),
  key_id: text({
    description:
      'For `aws_iam`: the access key. Default: the chain of AWS. For `azure`: the application. Default: the identity of this machine.',
  }),
  region: text({ description: 'For `aws_iam`: the region of the STS that Vault asks.' }),
  assume_role_kwargs: object('For `aws_iam`: the arguments of AssumeRole, with `RoleArn`.'),
  azure_tenant_id: text({ description: 'For `azure`: the tenant.' }),
  azure_resource: text({ description: 'For `azure`: the resource of the token.' }),
  gcp_key_path: path({
    description: 'For `gcp`: the file with the key of a service account. Default: the identity of this machine.',
  }),
  gcp_keyfile_dict: object('For `gcp`: the content of such a file.'),
  gcp_scopes: list({ description: 'For `gcp`: the scopes of the token with which Google is asked to sign.' }),
  radius_host: text({ description: `For \`radius\`: ${SET_IN_VAULT}` }),
  radius_secret: secret({ description: 'The same for the secret that Vault shares with it.' }),
  radius_port: integer({ min: 1, max: 65_535, description: 'The same for its port.' }),
  kubernetes_role: text({ description: 'The role for `kubernetes`.' }),
  kubernetes_jwt_path: path({ description: 'The file with the token of the pod.' }),
  jwt_role: text({ description: 'The role for `jwt`.' }),
  jwt_token: secret({ description: 'The JWT.' }),
  jwt_token_path: path({ description: 'The file with the JWT.' }),
  namespace: text({ description: 'The namespace. Default: VAULT_NAMESPACE.' }),
  verify: text({ description: 'The file with the authorities that sign the certificate of Vault, or `true`.' }),
  cert: list({ description: 'The files of the client certificate and of its key.' }),
  cert_role: text({ description: 'The certificate role for `cert`.' }),
  principal: text({ description: 'For `kerberos`: the client principal. Default: that of the ticket cache.' }),
  keytab: path({
    description: 'For `kerberos`: obtains the ticket from this keytab. Default: the ticket must be in the cache.',
  }),
  ccache: text({ description: 'For `kerberos`: the ticket cache. Default: that of krb5.' }),
  kerberos_service: text({
    description: 'For `kerberos`: the principal of Vault. Default: HTTP on the host of `url`.',
  }),
  timeout: seconds({ min: 0.1, description: 'How long one request may take.' }),
} as const

const UNSUPPORTED: Readonly<Record<string, string>> = {
  proxies: 'name the proxy by the option proxy of the engine',
  session: 'it is an object of Python',
  adapter: 'it is an object of Python',
  allow_redirects: 'redirections are followed to nodes of Vault alone',
  strict: 'it is an option of Python',
}

type VaultKwargs = Kwargs<typeof vaultKwargs>

/** The option that `secret_id` stands for, where it is not that of the AppRole. */
const SECRET_ID: Readonly<Record<string, string>> = { aws_iam: 'vault_aws_secret_access_key', azure: 'client_secret' }

/** The arguments in our words for the options of Vault, by the names of the arguments. */
function optionsOf({ values }: VaultKwargs): OptionsByArgument {
  const { auth_type: method, cert = [], verify } = values
  const isKubernetes = method === 'kubernetes'
  const isAws = method === 'aws_iam'
  const isAzure = method === 'azure'
  const keyfile = values.gcp_keyfile_dict
  const role = {
    kubernetes: ['kubernetes_role', values.kubernetes_role],
    cert: ['cert_role', values.cert_role],
    aws_iam: ['role_id', values.role_id],
    azure: ['role_id', values.role_id],
    gcp: ['role_id', values.role_id],
  } as const
  const [roleArgument, roleName] = Object.hasOwn(role, method)
    ? role[method as keyof typeof role]
    : (['jwt_role', values.jwt_role] as const)
  return {
    url: ['vault_addr', values.url],
    auth_type: ['vault_auth', isAws ? 'aws' : method],
    auth_mount_point: ['vault_auth_mount', values.auth_mount_point],
    token: ['vault_token', values.token],
    token_path: ['vault_token_file', values.token_path],
    username: ['vault_username', values.username],
    password: ['vault_password', values.password],
    role_id: ['vault_role_id', method === 'approle' ? values.role_id : undefined],
    [roleArgument]: ['vault_role', roleName],
    secret_id: [SECRET_ID[method] ?? 'vault_secret_id', values.secret_id],
    key_id: isAzure ? ['client_id', values.key_id] : ['vault_aws_access_key_id', isAws ? values.key_id : undefined],
    region: ['vault_aws_region', values.region],
    'assume_role_kwargs.RoleArn': ['vault_aws_role_arn', values.assume_role_kwargs?.['RoleArn']],
    ...(isAzure && { azure_tenant_id: ['tenant_id', values.azure_tenant_id] }),
    azure_resource: ['vault_azure_resource', values.azure_resource],
    gcp_key_path: ['google_credentials_file', values.gcp_key_path],
    gcp_keyfile_dict: ['google_credentials', keyfile && JSON.stringify(keyfile)],
    gcp_scopes: ['google_scopes', values.gcp_scopes],
    ...(method === 'kerberos' && {
      principal: ['principal', values.principal],
      keytab: ['keytab', values.keytab],
      ccache: ['ccache', values.ccache],
    }),
    kerberos_service: ['vault_kerberos_service', values.kerberos_service],
    jwt_token: ['vault_jwt', method === 'jwt' ? values.jwt_token : undefined],
    [isKubernetes ? 'kubernetes_jwt_path' : 'jwt_token_path']: [
      'vault_jwt_file',
      isKubernetes ? values.kubernetes_jwt_path : values.jwt_token_path,
    ],
    namespace: ['vault_namespace', values.namespace],
    verify: ['vault_ca_file', /^true$/i.test(verify ?? 'true') ? undefined : verify],
    cert: ['vault_client_cert', cert[0]],
    'cert[1]': ['vault_client_key', cert[1] ?? cert[0]],
    timeout: ['vault_timeout', values.timeout],
    kv_engine_version: ['vault_kv_version', values.kv_engine_version],
  }
}

/** @throws ConfigError */
export function openVaultStore(given: Readonly<Record<string, unknown>>, context: StoreKindContext): Store {
  const { subject, environment } = context
  const kwargs = readKwargs(vaultKwargs, given, subject, UNSUPPORTED)
  if (/^(false|0|no)$/i.test(kwargs.values.verify ?? '')) {
    const message = 'the certificate of Vault is always verified; name the file of its authority'
    throw new ConfigError([{ path: 'verify', message }], { subject })
  }
  const byArgument = optionsOf(kwargs)
  const assumeRole = kwargs.values.assume_role_kwargs
  refuse(assumeRoleProblems(assumeRole ?? {}), byArgument, subject)
  const written = Object.fromEntries(Object.values(byArgument))
  const fields = { ...vaultLoginFields(written), ...googleFields, ...vaultFields }
  const { values, problems } = parseFields(fields, written)
  const options = values as VaultLoginOptions
  refuse([...problems, ...vaultLoginProblems(options, environment)], byArgument, subject)
  const mount = kwargs.isNull('mount_point') ? undefined : kwargs.values.mount_point.replace(/\/+$/, '')
  const { agents, emit = () => undefined } = context
  const proofs = vaultProofs(options, { environment, agents, emit, assumeRole })
  const secrets = vaultReader(options, { environment, agent: agents?.https, emit, proofs }, mount)
  const reader = new CachedReader(secrets, context)
  const address = new URL(options.vault_addr ?? environment['VAULT_ADDR'] ?? '')
  return storeOver({
    name: `Vault ${address.host}`,
    reader,
    pathsOf: (kind, id, team) => pathsOf(kwargs, mount, PATHS[kind], id, team),
    connectionIn,
    textIn: (stored, place) => stored.read('value', place),
    fieldOf: (kind) => (kind === 'connection' ? 'conn_uri' : 'value'),
    // The fields of a connection have no effect beside the one that is written.
    keepsOthers: (kind) => kind !== 'connection',
  })
}

const PATHS = { connection: 'connections_path', variable: 'variables_path', config: 'config_path' } as const

function pathsOf(
  { values, isNull }: VaultKwargs,
  mount: string | undefined,
  name: (typeof PATHS)[keyof typeof PATHS],
  id: string,
  team: string | undefined,
): readonly string[] {
  const [, ownMount, rest] = mount === undefined ? (/^([^/]+)\/(.+)$/s.exec(id) ?? []) : [id, mount, id]
  if (ownMount === undefined || rest === undefined) return []
  const { global_secrets_path: shared, use_team_secrets_path: hasTeams } = values
  const bases = [...(isNull(name) ? [] : values[name]), ...(shared === undefined ? [] : [shared])]
  // A team sees its own entries alone.
  const within = team !== undefined && hasTeams && name !== 'config_path' ? team : ''
  return bases
    .map((base) => joined(ownMount, base.replace(/\/+$/, ''), within, rest))
    .filter((path) => isStorePath('vault', path))
}

function joined(...parts: readonly string[]): string {
  return parts.filter((part) => part !== '').join('/')
}

/** The URI under `conn_uri`, else all fields as the parts of a connection. */
function connectionIn(stored: StoredSecret): ReadValue<ConnectionInput> {
  const fields = stored.fields() ?? {}
  const { conn_uri: uri } = fields
  const isUri = typeof uri === 'string' && (uri !== '' || Object.keys(fields).length === 1)
  return { value: isUri ? uri : (fields as ConnectionInput) }
}
