/** Airflow's backends for AWS Secrets Manager and the Parameter Store, and their keyword arguments (providers/amazon). */

import { parseJson } from '../../connections/exact-json.ts'
import { boolean, secret, text } from '../../connections/fields.ts'
import { rdsType } from '../../connections/forms/rds-secret.ts'
import type { ConnectionInput } from '../../connections/parse.ts'
import { isStorePath } from '../../connections/reference.ts'
import type { ConfigProblem } from '../../errors.ts'
import { ConfigError } from '../../errors.ts'
import { isRecord } from '../../vault/json.ts'
import type { StoredSecret } from '../../vault/stored-secret.ts'
import type { StoreKindContext } from '../kind.ts'
import type { Kind, Store } from '../store.ts'
import { assumeRoleProblems } from './assume-role.ts'
import { type Kwargs, object, pattern, prefix, readKwargs } from './kwargs.ts'
import { type OptionsByArgument, schemeReader } from './our-options.ts'
import { type ReadValue, storeOver } from './over-reader.ts'

const off = '; `null` turns these look-ups off'

const login = {
  region_name: text({ description: 'The region. Default: AWS_REGION, then AWS_DEFAULT_REGION.' }),
  profile_name: text({ description: 'The profile of the shared files of AWS.' }),
  aws_access_key_id: text({ description: 'An access key, in place of the default chain.' }),
  aws_secret_access_key: secret({ description: 'Its secret.' }),
  aws_session_token: secret({ description: 'The session token of temporary keys.' }),
  role_arn: text({ description: 'A role to assume first.' }),
  assume_role_method: text({ description: '`assume_role` alone.' }),
  assume_role_kwargs: object(
    'More arguments of AssumeRole, such as `RoleSessionName`, `ExternalId` and `DurationSeconds`.',
  ),
  endpoint_url: text({ description: 'The address of the service.' }),
  verify: boolean({ default: true, description: 'Certificates are always verified.' }),
  use_ssl: boolean({ default: true, description: 'TLS is always used.' }),
} as const

const patterns = {
  connections_lookup_pattern: pattern('Ids that do not match it are not asked for.'),
  variables_lookup_pattern: pattern('The same for variables.'),
  config_lookup_pattern: pattern('The same for configuration.'),
} as const

function prefixes(start: string) {
  const of = (kind: string): string => `${start}${kind}`
  return {
    connections_prefix: prefix({ default: of('connections'), description: `The path of connections${off}.` }),
    variables_prefix: prefix({ default: of('variables'), description: `The path of variables${off}.` }),
    config_prefix: prefix({ default: of('config'), description: `The path of configuration${off}.` }),
  } as const
}

export const secretsManagerKwargs = {
  ...prefixes('airflow/'),
  ...patterns,
  sep: prefix({ default: '/', description: 'Between the path and the id.' }),
  extra_conn_words: object('More words for the parts of a connection in JSON, such as `{"schema": ["dbname"]}`.'),
  ...login,
} as const

export const parameterStoreKwargs = { ...prefixes('/airflow/'), ...patterns, ...login } as const

const UNSUPPORTED: Readonly<Record<string, string>> = {
  session_kwargs: 'give region_name, profile_name and the keys themselves',
  config_kwargs: 'it configures botocore',
  service_config: 'give endpoint_url itself',
  api_version: 'the version of the SDK is used',
  full_url_mode: 'Airflow has dropped it; connections are URIs or JSON',
  are_secret_values_urlencoded: 'Airflow has dropped it',
}

type Login = Kwargs<typeof login>

/** @throws ConfigError for a way to log in that is not supported */
function optionsOf({ values }: Login, subject: string): OptionsByArgument {
  const { assume_role_kwargs: role = {}, assume_role_method: method = 'assume_role', verify, use_ssl: isTls } = values
  const problems: ConfigProblem[] = []
  if (method !== 'assume_role') problems.push({ path: 'assume_role_method', message: 'only assume_role is supported' })
  if (!verify) problems.push({ path: 'verify', message: 'certificates are always verified' })
  if (!isTls) problems.push({ path: 'use_ssl', message: 'TLS is always used' })
  problems.push(...assumeRoleProblems(role))
  if (problems.length > 0) throw new ConfigError(problems, { subject })
  return {
    region_name: ['region', values.region_name],
    profile_name: ['aws_profile', values.profile_name],
    aws_access_key_id: ['aws_access_key_id', values.aws_access_key_id],
    aws_secret_access_key: ['aws_secret_access_key', values.aws_secret_access_key],
    aws_session_token: ['aws_session_token', values.aws_session_token],
    role_arn: ['role_arn', values.role_arn ?? role.RoleArn],
    endpoint_url: ['aws_endpoint_url', values.endpoint_url],
  }
}

const STARTS = { connection: 'connections', variable: 'variables', config: 'config' } as const

/** A team's entries come first. An id that holds this could be read as that of a team. */
const TEAM_END = '--'

/** The names of an entry, a team's first; none where the kind is turned off or the id does not match the pattern. */
function idsOf(
  { values, isNull }: Kwargs<typeof patterns & ReturnType<typeof prefixes>>,
  kind: Kind,
  id: string,
  team: string | undefined,
): readonly string[] {
  const start = STARTS[kind]
  if (isNull(`${start}_prefix`)) return []
  if (values[`${start}_lookup_pattern`]?.test(id) === false) return []
  if (team === undefined || kind === 'config') return [id]
  return id.includes(TEAM_END) ? [] : [`${team}${TEAM_END}${id}`, id]
}

/** @throws ConfigError */
export function openSecretsManagerStore(given: Readonly<Record<string, unknown>>, context: StoreKindContext): Store {
  const kwargs = readKwargs(secretsManagerKwargs, given, context.subject, UNSUPPORTED)
  const { values } = kwargs
  const words = wordsOf(values.extra_conn_words, context.subject)
  const reader = schemeReader('aws-sm', 'x', optionsOf(kwargs, context.subject), context, values.assume_role_kwargs)
  const nameOf = (kind: Kind, id: string): string => {
    const start = withoutEnd(values[`${STARTS[kind]}_prefix`], values.sep)
    return start === '' ? id : `${start}${values.sep}${id}`
  }
  return storeOver({
    name: 'AWS Secrets Manager',
    reader,
    pathsOf: (kind, id, team) =>
      idsOf(kwargs, kind, id, team)
        .map((one) => nameOf(kind, one))
        .filter((path) => isStorePath('aws-sm', path)),
    connectionIn: (stored, place) => connectionIn(stored, place, words),
    textIn: (stored, place) => stored.read(undefined, place),
  })
}

/** @throws ConfigError */
export function openParameterStore(given: Readonly<Record<string, unknown>>, context: StoreKindContext): Store {
  const kwargs = readKwargs(parameterStoreKwargs, given, context.subject, UNSUPPORTED)
  const reader = schemeReader(
    'aws-ssm',
    'x',
    optionsOf(kwargs, context.subject),
    context,
    kwargs.values.assume_role_kwargs,
  )
  const nameOf = (kind: Kind, id: string): string => {
    const path = `${withoutEnd(kwargs.values[`${STARTS[kind]}_prefix`], '/')}/${id}`
    return path.startsWith('/') ? path : `/${path}`
  }
  return storeOver({
    name: 'the AWS Parameter Store',
    reader,
    pathsOf: (kind, id, team) =>
      idsOf(kwargs, kind, id, team)
        .map((one) => nameOf(kind, one))
        .filter((path) => isStorePath('aws-ssm', path)),
    connectionIn: (stored, place) => ({ value: stored.read(undefined, place).reveal() }),
    textIn: (stored, place) => stored.read(undefined, place),
  })
}

/** As Python's rstrip has it. */
function withoutEnd(text: string, characters: string): string {
  let end = text.length
  while (end > 0 && characters.includes(text[end - 1] as string)) end--
  return text.slice(0, end)
}

type Words = ReadonlyMap<string, readonly string[]>

/** The words that Airflow takes for the parts of a connection; of several, the first in the secret counts. */
const WORDS: Words = new Map([
  ['login', ['login', 'user', 'username', 'user_name']],
  ['password', ['password', 'pass', 'key']],
  ['host', ['host', 'remote_host', 'server']],
  ['port', ['port']],
  ['schema', ['database', 'schema']],
  ['conn_type', ['conn_type', 'conn_id', 'connection_type', 'engine']],
  ['extra', ['extra']],
])

/** @throws ConfigError for a part that a connection does not have */
function wordsOf(extra: Readonly<Record<string, unknown>> = {}, subject: string): Words {
  const words = new Map(WORDS)
  for (const [key, more] of Object.entries(extra)) {
    const part = key === 'user' ? 'login' : key
    const known = words.get(part)
    if (known === undefined || !Array.isArray(more) || more.some((word) => typeof word !== 'string')) {
      const message = `expected lists of words for ${[...WORDS.keys()].join(', ')}`
      throw new ConfigError([{ path: `extra_conn_words.${key}`, message }], { subject })
    }
    words.set(part, [...known, ...(more as string[])])
  }
  return words
}

/** A URI, or JSON in whose words Airflow finds the parts and drops the rest. */
function connectionIn(stored: StoredSecret, place: string, words: Words): ReadValue<ConnectionInput> {
  const text = stored.read(undefined, place).reveal()
  const fields = text.trim().startsWith('{') ? objectIn(text) : undefined
  if (fields === undefined) return { value: text }
  const record: Record<string, unknown> = {}
  const taken = new Set<string>()
  for (const [part, known] of words) {
    const [key] = Object.keys(fields).filter((name) => known.includes(name))
    if (key === undefined) continue
    taken.add(key)
    record[part] = key === 'engine' ? (rdsType(String(fields[key])) ?? fields[key]) : fields[key]
  }
  const notes = Object.keys(fields).includes('dbname') && !taken.has('dbname') ? [NO_DATABASE] : []
  return { value: record as ConnectionInput, notes }
}

const NO_DATABASE: ConfigProblem = {
  path: 'dbname',
  message: 'Airflow drops this key; add extra_conn_words={"schema": ["dbname"]} to read it as the database',
}

function objectIn(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value = parseJson(text)
    return isRecord(value) ? value : undefined
  } catch {
    // As a text it is refused with the place of the connection, and is not repeated.
    return undefined
  }
}
