/** Checks the options of stores, for a connection that has references. */

import type { Connection } from '../connections/connection.ts'
import type { Fields } from '../connections/fields.ts'
import { fromName, isKubernetesName, type Reference, type ReferencedSecret } from '../connections/reference.ts'
import type { ConfigProblem } from '../errors.ts'
import type { AzureOptions } from '../strategies/azure/fields.ts'
import { googleLoginProblems } from '../strategies/google/fields.ts'
import { azureStoreProblems, vaultLoginProblems } from '../strategies/vault-login-problems.ts'
import { vaultFields } from '../vault/fields.ts'
import { type AwsStoreOptions, awsStoreProblems, isStoreAddress } from './aws/options.ts'
import { loginFields, type StoreFieldValues, secretsFileOf } from './fields.ts'

/** The problems of the stores that the references of a connection name. */
export function storeProblems(
  references: ReadonlyMap<string, Pick<ReferencedSecret, 'reference'>>,
  options: StoreFieldValues,
  environment: Readonly<Record<string, string | undefined>>,
  connection: Pick<Connection, 'host' | 'port'>,
): readonly ConfigProblem[] {
  const paths = new Map<Reference['scheme'], string[]>()
  const problems: ConfigProblem[] = []
  for (const [name, { reference }] of references) {
    const { scheme, path: at } = reference
    paths.set(scheme, [...(paths.get(scheme) ?? []), at])
    const usesApi = scheme === 'k8s' && isKubernetesName(at)
    if (scheme === 'encrypted' && secretsFileOf(options, environment) === undefined) {
      const message = `${fromName(name)} needs it; set it, or POOLSMITH_SECRETS_FILE`
      problems.push({ path: 'extra.secrets_file', message })
    }
    if (!usesApi || environment.KUBERNETES_SERVICE_HOST) continue
    const message = 'needs KUBERNETES_SERVICE_HOST, which every pod has; outside of one, name a folder'
    problems.push({ path: `extra.${fromName(name)}`, message })
  }
  const logins: Fields = { ...loginFields(paths.keys(), options), ...(paths.has('vault') ? vaultFields : {}) }
  for (const name of references.keys()) {
    if (logins[name] === undefined) continue
    const message = 'a store logs in with it, so it cannot be in a store; give the option itself'
    problems.push({ path: `extra.${fromName(name)}`, message })
  }
  if (paths.has('vault')) problems.push(...vaultLoginProblems(options, environment))
  for (const service of ['aws-sm', 'aws-ssm'] as const) {
    const names = paths.get(service)
    if (names === undefined) continue
    problems.push(...awsStoreProblems(service, names, options as AwsStoreOptions, environment, connection))
  }
  if (paths.has('azure-kv')) problems.push(...azureStoreProblems(options as AzureOptions, environment))
  if (paths.has('gcp-sm')) problems.push(...googleProblems(options))
  return problems
}

function googleProblems(options: StoreFieldValues): readonly ConfigProblem[] {
  const { google_endpoint_url: endpoint } = options
  const problems = googleLoginProblems(options)
  if (endpoint === undefined || isStoreAddress(endpoint)) return problems
  const message = 'expected https://host (or http to this machine alone), without a login or query'
  return [...problems, { path: 'extra.google_endpoint_url', message }]
}
