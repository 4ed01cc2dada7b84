/** The contradictions between the options of a login to a store. Loaded where there is a store. */

import type { ConfigProblem } from '../errors.ts'
import { vaultProblems } from '../vault/fields.ts'
import { type AzureOptions, credentialKind } from './azure/fields.ts'
import { azureProblems } from './azure/problems.ts'
import { googleLoginProblems } from './google/fields.ts'
import type { VaultLoginOptions } from './vault-login.ts'

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
