/** The options of references to stores of secrets, which every connection takes. */

import { LONGEST_TIMER_SECONDS, seconds, text, type ValuesOf } from '../connections/fields.ts'
import { fromName, isKubernetesName, type ReferencedSecret } from '../connections/reference.ts'
import type { ConfigProblem } from '../errors.ts'
import { vaultFields, vaultProblems } from '../vault/fields.ts'

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
  ...vaultFields,
} as const

export type StoreFieldValues = ValuesOf<typeof storeFields>

/** The problems of the stores that the references name. */
export function storeProblems(
  references: ReadonlyMap<string, ReferencedSecret>,
  options: StoreFieldValues,
  environment: Readonly<Record<string, string | undefined>>,
): readonly ConfigProblem[] {
  const problems: ConfigProblem[] = []
  for (const [name, { reference }] of references) {
    const usesApi = reference.scheme === 'k8s' && isKubernetesName(reference.path)
    if (!usesApi || environment.KUBERNETES_SERVICE_HOST) continue
    const message = 'needs KUBERNETES_SERVICE_HOST, which every pod has; outside of one, name a folder'
    problems.push({ path: `extra.${fromName(name)}`, message })
  }
  const usesVault = [...references.values()].some(({ reference }) => reference.scheme === 'vault')
  return [...problems, ...(usesVault ? vaultProblems(options, environment) : [])]
}
