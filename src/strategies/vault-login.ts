/** The options by which Vault is logged in to with an identity of another: those of its strategy. */

import type { Fields, ValuesOf } from '../connections/fields.ts'
import type { ConfigProblem } from '../errors.ts'
import { type VaultOptions, vaultProblems } from '../vault/fields.ts'
import { type AzureOptions, azureFields, azureProblems, credentialKind } from './azure/fields.ts'
import { type GoogleOptions, googleLoginProblems } from './google/fields.ts'
import { kerberosFields } from './kerberos/fields.ts'

const { principal, keytab, ccache } = kerberosFields
const ticketFields = { principal, keytab, ccache } as const

/** By `vault_auth`, where it has options beside those of Vault. */
const FIELDS: Readonly<Record<string, Fields>> = { azure: azureFields, kerberos: ticketFields }

export type TicketOptions = ValuesOf<typeof ticketFields>

/** All options of a login to Vault: those of an identity are there under its `vault_auth` alone. */
export type VaultLoginOptions = VaultOptions & Partial<AzureOptions & GoogleOptions & TicketOptions>

/** @param given options, among which is `vault_auth` */
export function vaultLoginFields({ vault_auth: method }: Readonly<Record<string, unknown>>): Fields {
  // Anything may have been given; the table of options reports it.
  const name = typeof method === 'string' ? method : ''
  return Object.hasOwn(FIELDS, name) ? (FIELDS[name] ?? {}) : {}
}

/** The contradictions between the options of a login, and those of Vault itself. */
export function vaultLoginProblems(
  options: VaultLoginOptions,
  environment: Readonly<Record<string, string | undefined>>,
): readonly ConfigProblem[] {
  const problems = vaultProblems(options, environment)
  if (options.vault_auth === 'azure') problems.push(...azureStoreProblems(options as AzureOptions, environment))
  if (options.vault_auth === 'gcp') problems.push(...googleLoginProblems(options))
  return problems
}

/** The problems of the options of `azure_ad` where a store is logged in to. */
export function azureStoreProblems(
  options: AzureOptions,
  environment: Readonly<Record<string, string | undefined>>,
): readonly ConfigProblem[] {
  if (credentialKind(options) !== 'password') return azureProblems(options, environment)
  const message = "password is not for a store: the password of the connection is the database's"
  return [{ path: 'extra.azure_credential', message }]
}
