/** Airflow's CloudSecretManagerBackend, and its keyword arguments (providers/google). */

import { list, path, secret, text } from '../../connections/fields.ts'
import { isStorePath } from '../../connections/reference.ts'
import { ConfigError } from '../../errors.ts'
import { readSecretFile } from '../../vault/credential-file.ts'
import { objectOf } from '../../vault/json.ts'
import type { StoreKindContext } from '../kind.ts'
import type { Kind, Store } from '../store.ts'
import { object, prefix, readKwargs } from './kwargs.ts'
import { schemeReader } from './our-options.ts'
import { storeOver } from './over-reader.ts'

const off = '; `null` turns these look-ups off'

export const googleKwargs = {
  connections_prefix: prefix({ default: 'airflow-connections', description: `The start of connections${off}.` }),
  variables_prefix: prefix({ default: 'airflow-variables', description: `The start of variables${off}.` }),
  config_prefix: prefix({ default: 'airflow-config', description: `The start of configuration${off}.` }),
  sep: prefix({ default: '-', description: 'Between the start and the id.' }),
  project_id: text({ description: 'The project. Default: GOOGLE_CLOUD_PROJECT, then that of the key file.' }),
  gcp_key_path: path({ description: 'The file with the key of a service account.' }),
  gcp_keyfile_dict: object('The content of such a file.'),
  gcp_scopes: list({ description: 'The scopes of its tokens. Default: cloud-platform.' }),
  gcp_credential_config_file: secret({
    description: 'The file with a workload identity federation, or its content.',
  }),
  impersonation_chain: list({ description: 'The service accounts that delegate, and last the one that is used.' }),
} as const

const STARTS = { connection: 'connections_prefix', variable: 'variables_prefix', config: 'config_prefix' } as const

const TEAM_END = '--'

/** @throws ConfigError; PoolsmithError for the file of a key that cannot be read */
export async function openGoogleStore(
  given: Readonly<Record<string, unknown>>,
  context: StoreKindContext,
): Promise<Store> {
  const { environment, subject } = context
  const { values, isNull } = readKwargs(googleKwargs, given, subject)
  const { gcp_key_path: key, gcp_keyfile_dict: keyfile, sep } = values
  const config = values.gcp_credential_config_file?.reveal()
  const isContent = config?.trimStart().startsWith('{') === true
  const file = key ?? (isContent ? undefined : config)
  const content = keyfile === undefined ? (isContent ? config : undefined) : JSON.stringify(keyfile)
  const wrong = Object.values(STARTS).find((name) => !isNull(name) && !/^[\w-]*$/.test(`${values[name]}${sep}`))
  if (wrong !== undefined) {
    throw new ConfigError([{ path: wrong, message: 'expected letters, digits, _ and - alone, also in sep' }], {
      subject,
    })
  }
  const project =
    values.project_id ||
    environment.GOOGLE_CLOUD_PROJECT ||
    environment.GCLOUD_PROJECT ||
    (content === undefined
      ? await projectIn(file ?? environment.GOOGLE_APPLICATION_CREDENTIALS)
      : projectOf(objectOf(content)))
  if (project === undefined || !isStorePath('gcp-sm', `${project}/x`)) {
    const message = `${project === undefined ? 'missing; ' : ''}expected the id of a project; set it, or GOOGLE_CLOUD_PROJECT`
    throw new ConfigError([{ path: 'project_id', message }], { subject })
  }
  const reader = schemeReader(
    'gcp-sm',
    `${project}/x`,
    {
      [key === undefined ? 'gcp_credential_config_file' : 'gcp_key_path']: ['google_credentials_file', file],
      [keyfile === undefined && isContent ? 'gcp_credential_config_file' : 'gcp_keyfile_dict']: [
        'google_credentials',
        content,
      ],
      gcp_scopes: ['google_scopes', values.gcp_scopes],
      impersonation_chain: ['google_impersonate', values.impersonation_chain],
    },
    context,
  )
  const namesOf = (kind: Kind, id: string, team: string | undefined): readonly string[] => {
    const start = values[STARTS[kind]]
    if (team === undefined || kind === 'config') return [`${start}${sep}${id}`]
    return id.includes(TEAM_END) ? [] : [`${start}${sep}${team}${TEAM_END}${id}`, `${start}${sep}${id}`]
  }
  return storeOver({
    name: `Google Secret Manager, project ${project}`,
    reader,
    pathsOf: (kind, id, team) =>
      isNull(STARTS[kind])
        ? []
        : namesOf(kind, id, team)
            .filter((name) => /^[\w-]{1,255}$/.test(name))
            .map((name) => `${project}/${name}`),
    connectionIn: (stored, place) => ({ value: stored.read(undefined, place).reveal() }),
    textIn: (stored, place) => stored.read(undefined, place),
  })
}

/** The project of a service account, by its key file. */
async function projectIn(file: string | undefined): Promise<string | undefined> {
  if (!file) return undefined
  const use = { what: 'file of the Google credentials', option: 'gcp_key_path', missing: 'CREDENTIAL_MISSING' } as const
  return projectOf(objectOf((await readSecretFile(file, use)).toString('utf8')))
}

function projectOf({ project_id: project }: Readonly<Record<string, unknown>> = {}): string | undefined {
  return typeof project === 'string' ? project : undefined
}
