/** The contradictions between the options of an identity of Entra. Loaded where there is one. */

import type { Connection } from '../../connections/connection.ts'
import type { ConfigProblem } from '../../errors.ts'
import { defaultIdentity } from './default-identity.ts'
import { type AzureCredentialKind, type AzureOptions, credentialKind } from './fields.ts'

/** Options that prove or name an identity, and what uses them: with anything else another identity would be used. */
const PROOFS = {
  client_secret: ['service_principal'],
  client_certificate_path: ['service_principal'],
  federated_token_file: ['workload_identity'],
  managed_identity_client_id: ['managed_identity', 'default'],
  managed_identity_resource_id: ['managed_identity', 'default'],
} as const satisfies Partial<Record<keyof AzureOptions, readonly AzureCredentialKind[]>>

/** All contradictions between the options, at once. */
export function azureProblems(
  options: AzureOptions,
  environment: Readonly<Record<string, string | undefined>>,
  connection: Pick<Connection, 'login' | 'password'> = {},
): ConfigProblem[] {
  const kind = credentialKind(options)
  const problems: ConfigProblem[] = []
  const need = (key: keyof AzureOptions, variable?: string): void => {
    if (options[key] !== undefined || (variable !== undefined && environment[variable])) return
    const or = variable === undefined ? '' : `, or ${variable} in the environment`
    problems.push({ path: `extra.${key}`, message: `azure_credential ${kind} needs it${or}` })
  }
  if (options.client_certificate_password !== undefined && options.client_certificate_path === undefined) {
    problems.push({ path: 'extra.client_certificate_path', message: 'client_certificate_password needs it' })
  }
  if (kind === 'cli' && options.client_id !== undefined) {
    problems.push({
      path: 'extra.client_id',
      message: 'has no effect under azure_credential cli, where az decides who signs in; leave it out',
    })
  }
  if (kind === 'service_principal') {
    need('tenant_id')
    need('client_id')
    if (options.client_certificate_path === undefined) need('client_secret')
    else if (options.client_secret !== undefined) {
      problems.push({ path: 'extra.client_secret', message: 'client_certificate_path is set too; keep one of them' })
    }
  }
  for (const [key, kinds] of Object.entries(PROOFS) as [keyof typeof PROOFS, readonly AzureCredentialKind[]][]) {
    if (options[key] === undefined || kinds.includes(kind)) continue
    const message = `names another identity than azure_credential ${kind}, which has no use for it; keep one of them`
    problems.push({ path: `extra.${key}`, message })
  }
  if (kind === 'workload_identity') {
    need('tenant_id', 'AZURE_TENANT_ID')
    need('client_id', 'AZURE_CLIENT_ID')
    need('federated_token_file', 'AZURE_FEDERATED_TOKEN_FILE')
  }
  if (kind === 'password') {
    const message = 'azure_credential password needs it'
    if (connection.password === undefined) problems.push({ path: 'password', message })
    if (connection.login === undefined && options.azure_username === undefined) {
      problems.push({ path: 'login', message: `${message}, or azure_username` })
    }
  }
  if (kind === 'default') {
    const found = defaultIdentity(options, environment)
    if (found.kind === 'incomplete' && found.by === 'client_id') {
      problems.push({ path: 'extra.client_id', message: found.message })
    }
  }
  if (kind === 'managed_identity' && options.client_id !== undefined) {
    const other = options.managed_identity_client_id ?? options.managed_identity_resource_id
    if (other !== undefined && other !== options.client_id) {
      problems.push({
        path: 'extra.client_id',
        message: 'names another identity than managed_identity_*; keep one of them',
      })
    }
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
