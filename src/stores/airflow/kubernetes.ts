/** Airflow's KubernetesSecretsBackend, and its keyword arguments (providers/cncf/kubernetes). */

import { join } from 'node:path'
import { parseFields, text } from '../../connections/fields.ts'
import { ConfigError } from '../../errors.ts'
import { readSecretText } from '../../vault/credential-file.ts'
import { CachedReader } from '../cache.ts'
import { storeFields } from '../fields.ts'
import type { StoreKindContext } from '../kind.ts'
import { apiAddress, kubernetesLabelReader } from '../kubernetes-api.ts'
import type { Store } from '../store.ts'
import { readKwargs } from './kwargs.ts'
import { storeOver } from './over-reader.ts'

const off = '; `null` turns these look-ups off'

export const kubernetesKwargs = {
  namespace: text({ description: 'The namespace. Default: that of the pod.' }),
  connections_label: text({
    default: 'airflow.apache.org/connection-id',
    description: `The label with the id of a connection${off}.`,
  }),
  variables_label: text({
    default: 'airflow.apache.org/variable-key',
    description: `The label with the key of a variable${off}.`,
  }),
  config_label: text({
    default: 'airflow.apache.org/config-key',
    description: `The label with the key of configuration${off}.`,
  }),
  team_label: text({
    default: 'airflow.apache.org/team',
    description: 'The label with the name of a team; `null`: secrets of teams are not told apart.',
  }),
  connections_data_key: text({ default: 'value', description: 'The key that holds a connection.' }),
  variables_data_key: text({ default: 'value', description: 'The key that holds a variable.' }),
  config_data_key: text({ default: 'value', description: 'The key that holds configuration.' }),
  k8s_account_folder: { ...storeFields.k8s_account_folder, description: 'Ours: the folder of the service account.' },
} as const

const LABELS = { connection: 'connections', variable: 'variables', config: 'config' } as const

/** Kubernetes documentation, "Labels and Selectors". */
const LABEL_VALUE = /^[a-z0-9]([-a-z0-9_.]{0,61}[a-z0-9])?$/i
const LABEL = /^([a-z0-9.-]{1,253}\/)?[a-z0-9]([-a-z0-9_.]{0,61}[a-z0-9])?$/i

/** @throws ConfigError; PoolsmithError for a namespace that cannot be read */
export async function openKubernetesStore(
  given: Readonly<Record<string, unknown>>,
  context: StoreKindContext,
): Promise<Store> {
  const { environment, subject, agents, emit } = context
  const { values, isNull } = readKwargs(kubernetesKwargs, given, subject)
  for (const name of ['connections_label', 'variables_label', 'config_label', 'team_label'] as const) {
    if (!LABEL.test(values[name])) throw new ConfigError([{ path: name, message: 'expected a label' }], { subject })
  }
  const address = apiAddress(environment)
  if (address === undefined) {
    const message = 'KUBERNETES_SERVICE_HOST, which every pod has, is not set'
    throw new ConfigError([{ path: '', message }], { subject })
  }
  const folder = values.k8s_account_folder
  const namespace = values.namespace ?? (await namespaceOf(folder))
  const { k8s_timeout } = parseFields(storeFields, {}).values
  const reader = new CachedReader(
    kubernetesLabelReader(
      address,
      { k8s_account_folder: folder, k8s_timeout },
      { environment, agent: agents?.https, emit },
    ),
    context,
  )
  return storeOver({
    name: `Kubernetes, namespace ${namespace}`,
    reader,
    pathsOf(kind, id, team) {
      const label = `${LABELS[kind]}_label` as const
      // As in Airflow, an id does not lead to the secrets of a team.
      const isOfTeam = team === undefined && /^_[^_]+___./.test(id) && kind !== 'config'
      if (isNull(label) || isOfTeam || !LABEL_VALUE.test(id)) return []
      const own = `${namespace}/${values[label]}=${id}`
      if (isNull('team_label')) return [own]
      const ofTeam = team === undefined || kind === 'config' ? [] : [`${own},${values.team_label}=${team}`]
      return [...ofTeam, `${own},!${values.team_label}`]
    },
    connectionIn: (stored, place) => ({ value: stored.read(values.connections_data_key, place).reveal() }),
    textIn: (stored, place, kind) => stored.read(values[`${LABELS[kind]}_data_key`], place),
    fieldOf: (kind) => values[`${LABELS[kind]}_data_key`],
  })
}

async function namespaceOf(folder: string): Promise<string> {
  const use = {
    what: 'file with the namespace of the pod',
    option: 'namespace',
    missing: 'CREDENTIAL_MISSING',
  } as const
  return (await readSecretText(join(folder, 'namespace'), use)).reveal()
}
