/** The options of references to stores of secrets, which every connection takes. */

import type { Connection } from '../connections/connection.ts'
import { type Fields, LONGEST_TIMER_SECONDS, path, seconds, text, type ValuesOf } from '../connections/fields.ts'
import { fromName, isKubernetesName, type ReferencedSecret, type Scheme } from '../connections/reference.ts'
import type { ConfigProblem } from '../errors.ts'
import { type AwsOptions, awsFields } from '../strategies/aws/fields.ts'
import { type AzureOptions, azureFields, azureProblems, credentialKind } from '../strategies/azure/fields.ts'
import { vaultFields, vaultProblems } from '../vault/fields.ts'
import { type AwsStoreOptions, awsStoreFields, awsStoreProblems } from './aws/fields.ts'

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
  ...awsStoreFields,
  ...vaultFields,
} as const

/** The tables of strategies by whose options a store logs in. They count where a reference names the store. */
const LOGINS = { 'aws-sm': awsFields, 'aws-ssm': awsFields, 'azure-kv': azureFields } as const

/** The values of a connection's options for its stores: those of a login, where a reference names its store. */
export type StoreFieldValues = ValuesOf<typeof storeFields> & Partial<AwsOptions & AzureOptions>

/** The encrypted file of secrets; undefined where none is named. */
export function secretsFileOf(
  { secrets_file: file }: Pick<StoreFieldValues, 'secrets_file'>,
  environment: Readonly<Record<string, string | undefined>>,
): string | undefined {
  return file ?? (environment.POOLSMITH_SECRETS_FILE || undefined)
}

/** The options by which the stores of these kinds log in, beside those that every connection takes. */
export function loginFields(schemes: Iterable<Scheme>): Fields {
  const all: Readonly<Partial<Record<Scheme, Fields>>> = LOGINS
  return Object.assign({}, ...[...schemes].map((scheme) => all[scheme]))
}

/** The problems of the stores that the references of a connection name. */
export function storeProblems(
  references: ReadonlyMap<string, ReferencedSecret>,
  options: StoreFieldValues,
  environment: Readonly<Record<string, string | undefined>>,
  connection: Pick<Connection, 'host' | 'port'>,
): readonly ConfigProblem[] {
  const paths = new Map<Scheme, string[]>()
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
  const logins: Fields = { ...loginFields(paths.keys()), ...(paths.has('vault') ? vaultFields : {}) }
  for (const name of references.keys()) {
    if (logins[name] === undefined) continue
    const message = 'a store logs in with it, so it cannot be in a store; give the option itself'
    problems.push({ path: `extra.${fromName(name)}`, message })
  }
  if (paths.has('vault')) problems.push(...vaultProblems(options, environment))
  for (const service of ['aws-sm', 'aws-ssm'] as const) {
    const names = paths.get(service)
    if (names === undefined) continue
    problems.push(...awsStoreProblems(service, names, options as AwsStoreOptions, environment, connection))
  }
  if (paths.has('azure-kv')) problems.push(...keyVaultProblems(options as AzureOptions, environment))
  return problems
}

function keyVaultProblems(
  options: AzureOptions,
  environment: Readonly<Record<string, string | undefined>>,
): readonly ConfigProblem[] {
  if (credentialKind(options) !== 'password') return azureProblems(options, environment)
  const message = "password is not for a store: the password of the connection is the database's"
  return [{ path: 'extra.azure_credential', message }]
}
