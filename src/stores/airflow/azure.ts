/** Airflow's AzureKeyVaultBackend, and its keyword arguments (providers/microsoft/azure). */

import { boolean, secret, text } from '../../connections/fields.ts'
import { isStorePath } from '../../connections/reference.ts'
import { ConfigError } from '../../errors.ts'
import type { StoreKindContext } from '../kind.ts'
import type { Kind, Store } from '../store.ts'
import { prefix, readKwargs } from './kwargs.ts'
import { schemeReader } from './our-options.ts'
import { storeOver } from './over-reader.ts'

const off = '; `null` turns these look-ups off'

export const keyVaultKwargs = {
  connections_prefix: prefix({ default: 'airflow-connections', description: `The start of connections${off}.` }),
  variables_prefix: prefix({ default: 'airflow-variables', description: `The start of variables${off}.` }),
  config_prefix: prefix({ default: 'airflow-config', description: `The start of configuration${off}.` }),
  vault_url: text({ description: 'The address of the vault.' }),
  sep: prefix({ default: '-', description: 'Between the start and the id, and in place of each `_`.' }),
  tenant_id: text({ description: 'The tenant of the service principal.' }),
  client_id: text({ description: 'The id of the service principal.' }),
  client_secret: secret({ description: 'Its secret.' }),
  managed_identity_client_id: text({ description: 'The client id of a user-assigned managed identity.' }),
  workload_identity_tenant_id: text({ description: 'The tenant of a workload identity.' }),
  authority_host: text({ description: 'Ours: the address of the authority. Default: AZURE_AUTHORITY_HOST.' }),
  disable_instance_discovery: boolean({ default: false, description: 'Ours: as for `auth_method=azure_ad`.' }),
} as const

const UNSUPPORTED: Readonly<Record<string, string>> = {
  api_version: 'the version of the SDK is used',
  verify_challenge_resource: 'the host of the vault is always verified',
}

const STARTS = { connection: 'connections_prefix', variable: 'variables_prefix', config: 'config_prefix' } as const

const TEAM_END = '--'

/** @throws ConfigError */
export function openKeyVaultStore(given: Readonly<Record<string, unknown>>, context: StoreKindContext): Store {
  const { environment, subject } = context
  const { values, isNull } = readKwargs(keyVaultKwargs, given, subject, UNSUPPORTED)
  const address = values.vault_url?.replace(/\/+$/, '') ?? ''
  if (!isStorePath('azure-kv', `${address}/x`) || !address.startsWith('https://')) {
    const message = `${address === '' ? 'missing; ' : ''}expected the address of a vault, such as https://sales.vault.azure.net`
    throw new ConfigError([{ path: 'vault_url', message }], { subject })
  }
  const reader = schemeReader(
    'azure-kv',
    `${address}/x`,
    {
      tenant_id: ['tenant_id', values.tenant_id ?? values.workload_identity_tenant_id],
      client_id: ['client_id', values.client_id],
      client_secret: ['client_secret', values.client_secret],
      authority_host: ['authority_host', values.authority_host ?? (environment.AZURE_AUTHORITY_HOST || undefined)],
      disable_instance_discovery: ['disable_instance_discovery', values.disable_instance_discovery],
      managed_identity_client_id: ['managed_identity_client_id', values.managed_identity_client_id],
    },
    context,
  )
  const inTheirWords = (name: string): string => name.replaceAll('_', values.sep)
  const namesOf = (kind: Kind, id: string, team: string | undefined): readonly string[] => {
    const start = values[STARTS[kind]].replace(endOf(values.sep), '')
    const whole = (name: string): string => (start === '' ? name : `${inTheirWords(start)}${values.sep}${name}`)
    const name = inTheirWords(id)
    if (team === undefined || kind === 'config') return [whole(name)]
    return name.includes(TEAM_END) ? [] : [whole(`${inTheirWords(team)}${TEAM_END}${name}`), whole(name)]
  }
  return storeOver({
    name: `the Key Vault ${address.slice('https://'.length)}`,
    reader,
    pathsOf: (kind, id, team) =>
      isNull(STARTS[kind])
        ? []
        : namesOf(kind, id, team)
            .filter((name) => /^[0-9a-z-]{1,127}$/i.test(name))
            .map((name) => `${address}/${name}`),
    connectionIn: (stored, place) => ({ value: stored.read(undefined, place).reveal() }),
    textIn: (stored, place) => stored.read(undefined, place),
  })
}

/** A separator, however often, at the end of a text. */
function endOf(separator: string): RegExp {
  return new RegExp(`(?:${separator.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&')})+$`)
}
