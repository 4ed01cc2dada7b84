/**
 * Microsoft's own spellings of connection options (ADO.NET, ODBC, JDBC), said in ours. A pure function: it looks at
 * nothing but what it is given.
 */

import { childPath, isPort, looksLikeServer, serverAddress, show } from '../../connections/fields.ts'
import { isHostList } from '../../connections/host-list.ts'
import type { ConfigProblem } from '../../errors.ts'
import { Secret } from '../../secret.ts'
import { IGNORED } from './ado-ignored.ts'

/** The fields of a connection record that such spellings can also say. */
export interface MssqlRecord {
  readonly host?: string
  readonly port?: number
  readonly login?: string
  readonly password?: Secret
  readonly database?: string
  readonly extra: Readonly<Record<string, unknown>>
}

export interface NormalisedMssql {
  readonly record: MssqlRecord
  /** The keys that were left out, each with the reason. */
  readonly notes: readonly ConfigProblem[]
  readonly problems: readonly ConfigProblem[]
}

/** Spellings are compared without case, spaces, underscores and hyphens, as Microsoft's drivers do. */
const plain = (key: string): string => key.toLowerCase().replaceAll(/[\s_-]/g, '')

/** Other names for options that we have, with the same values. */
const RENAMED: Readonly<Record<string, string>> = {
  trustservercertificate: 'trust_server_certificate',
  hostnameincertificate: 'host_name_in_certificate',
  servercertificate: 'server_certificate',
  multisubnetfailover: 'multi_subnet_failover',
  connecttimeout: 'connect_timeout',
  connectiontimeout: 'connect_timeout',
  logintimeout: 'connect_timeout',
  timeout: 'connect_timeout',
  commandtimeout: 'request_timeout',
  querytimeout: 'request_timeout',
  packetsize: 'packet_size',
  applicationname: 'application_name',
  app: 'application_name',
  workstationid: 'workstation_id',
  wsid: 'workstation_id',
  serverspn: 'mssql_spn',
  failoverpartner: 'failover_partner',
  failoverpartnerspn: 'failover_partner_spn',
  instancename: 'instance_name',
  currentlanguage: 'language',
  language: 'language',
  sendstringparametersasunicode: 'unicode_strings',
  msiclientid: 'managed_identity_client_id',
}

const SERVER = new Set(['server', 'servername', 'datasource', 'address', 'addr', 'networkaddress'])
const DATABASE = new Set(['database', 'databasename', 'initialcatalog'])
const LOGIN = new Set(['uid', 'user', 'userid', 'username'])
const PASSWORD = new Set(['pwd', 'password'])
const PORT = 'portnumber'
const INTEGRATED = new Set(['trustedconnection', 'integratedsecurity'])

const TRUE = new Set(['true', 'yes', '1', 'sspi', 'on'])
const FALSE = new Set(['false', 'no', '0', 'off'])

const KNOWN = new Set([
  ...Object.keys(RENAMED),
  ...SERVER,
  ...DATABASE,
  ...LOGIN,
  ...PASSWORD,
  ...INTEGRATED,
  PORT,
  'encrypt',
  'applicationintent',
  'authentication',
])

/** `Authentication=…` as extras of the strategy azure_ad, or why there is no such thing here. */
const ENTRA: Readonly<Record<string, (login: string | undefined, password: Secret | undefined) => object>> = {
  activedirectoryserviceprincipal: (client_id, client_secret) => ({
    azure_credential: 'service_principal',
    ...(client_id === undefined ? {} : { client_id }),
    ...(client_secret === undefined ? {} : { client_secret }),
  }),
  activedirectorymsi: managedIdentity,
  activedirectorymanagedidentity: managedIdentity,
  activedirectoryworkloadidentity: (client_id) => ({
    azure_credential: 'workload_identity',
    ...(client_id === undefined ? {} : { client_id }),
  }),
  activedirectorydefault: (login) => ({
    azure_credential: 'default',
    ...(login === undefined ? {} : { managed_identity_client_id: login, client_id: login }),
  }),
  // These take the login and the password as the record has them.
  activedirectorypassword: () => ({ azure_credential: 'password' }),
  activedirectoryinteractive: () => ({ azure_credential: 'interactive' }),
  activedirectorydevicecodeflow: () => ({ azure_credential: 'device_code' }),
  activedirectoryintegrated: () => ({ azure_credential: 'integrated' }),
}

/** As Microsoft writes them. */
const AUTHENTICATIONS =
  'SqlPassword, ActiveDirectoryServicePrincipal, ActiveDirectoryMsi, ActiveDirectoryManagedIdentity, ' +
  'ActiveDirectoryWorkloadIdentity, ActiveDirectoryDefault, ActiveDirectoryIntegrated, ActiveDirectoryInteractive, ' +
  'ActiveDirectoryDeviceCodeFlow, ActiveDirectoryPassword'

/** The values of `auth_method` that agree with an `Authentication`. */
const SAME_METHOD: Readonly<Record<string, ReadonlySet<unknown>>> = {
  sql_auth: new Set(['sql_auth', 'password']),
  azure_ad: new Set(['azure_ad', 'entra']),
}

function managedIdentity(login: string | undefined): object {
  return {
    azure_credential: 'managed_identity',
    ...(login === undefined ? {} : { managed_identity_client_id: login }),
  }
}

/**
 * Translates Microsoft's spellings into ours: `Encrypt=Mandatory`, `Trusted_Connection=yes`, `Server=tcp:db\SALES,1433`,
 * `Authentication=ActiveDirectoryMsi`. Keys that are ours already, or unknown, pass as they are. What the record
 * itself says of host, login and database comes first, unless `extrasFirst`; its host may be written as a server too.
 */
export function normaliseMssqlExtras(
  record: MssqlRecord,
  { extrasFirst = false }: { readonly extrasFirst?: boolean } = {},
): NormalisedMssql {
  const notes: ConfigProblem[] = []
  const problems: ConfigProblem[] = []
  const given = withHostAlone(record, problems)
  const extra: Record<string, unknown> = {}
  const fields: { -readonly [K in keyof MssqlRecord]?: MssqlRecord[K] } = {}
  const saidBy: Partial<Record<keyof MssqlRecord, string>> = {}
  let authentication: { readonly key: string; readonly value: string } | undefined
  let trustKey: string | undefined
  const set = (key: string, name: string, value: unknown): void => {
    if (Object.hasOwn(extra, name))
      problems.push({ path: childPath('extra', key), message: `says the same as ${name}; keep one of them` })
    else extra[name] = value
  }
  const tell = <K extends 'host' | 'port' | 'login' | 'password' | 'database'>(
    key: string,
    name: K,
    value: MssqlRecord[K],
  ): void => {
    const other = saidBy[name]
    if (other !== undefined)
      problems.push({ path: childPath('extra', key), message: `says the same as ${other}; keep one of them` })
    saidBy[name] = key
    fields[name] = value
  }
  const tellServer = (key: string, text: string): void => {
    const address = serverAddress(text)
    if (typeof address === 'string') {
      problems.push({ path: childPath('extra', key), message: address })
      return
    }
    // Its port and its instance are another server's then.
    if (given.host !== undefined && !extrasFirst) return
    tell(key, 'host', address.host)
    if (address.port !== undefined) tell(key, 'port', address.port)
    if (address.instance !== undefined) extra.instance_name ??= address.instance
  }

  for (const [key, wrapped] of Object.entries(given.extra)) {
    const name = plain(key)
    const path = childPath('extra', key)
    // Values that look like a secret have been wrapped; of these keys only a password is one.
    const value = wrapped instanceof Secret && !PASSWORD.has(name) && KNOWN.has(name) ? wrapped.reveal() : wrapped
    // An empty value is how forms and URIs say "not set".
    if (KNOWN.has(name) && (value === undefined || value === null || value === '')) continue
    if (KNOWN.has(name) && !(value instanceof Secret) && !['string', 'number', 'boolean'].includes(typeof value)) {
      problems.push({ path, message: `expected a string, got ${show(value)}` })
    } else if (IGNORED.has(name)) {
      notes.push({ path, message: 'has a meaning for ODBC or ADO.NET drivers only; ignored' })
    } else if (name === 'encrypt') set(key, 'encrypt', encryptOf(value))
    else if (name === 'applicationintent') set(key, 'application_intent', intentOf(value))
    else if (SERVER.has(name)) tellServer(key, String(value))
    else if (name === PORT) {
      if (isPort(String(value))) tell(key, 'port', Number(value))
      else problems.push({ path, message: `expected a port, got ${show(value)}` })
    } else if (DATABASE.has(name)) tell(key, 'database', String(value))
    else if (LOGIN.has(name)) tell(key, 'login', String(value))
    else if (PASSWORD.has(name)) tell(key, 'password', value instanceof Secret ? value : new Secret(String(value)))
    else if (INTEGRATED.has(name)) {
      const word = String(value).toLowerCase()
      if (TRUE.has(word)) set(key, 'auth_method', 'kerberos')
      else if (!FALSE.has(word)) problems.push({ path, message: `expected yes or no, got ${show(value)}` })
    } else if (name === 'authentication') authentication = { key, value: plain(String(value)) }
    else {
      set(key, RENAMED[name] ?? key, value)
      if (name === 'trustservercertificate' && key !== 'trust_server_certificate') trustKey = key
    }
  }

  if (extra.encrypt === 'strict' && trustKey !== undefined) {
    // As in Microsoft's drivers; under our own name it is a contradiction.
    delete extra.trust_server_certificate
    notes.push({ path: `extra.${trustKey}`, message: 'has no effect under Encrypt=Strict; ignored' })
  }
  const { extra: _, ...own } = given
  const said: MssqlRecord = extrasFirst ? { ...own, ...fields, extra } : { ...fields, ...own, extra }
  if (authentication === undefined || authentication.value === 'notspecified') return { record: said, notes, problems }

  const { key, value } = authentication
  const path = childPath('extra', key)
  const settings = value === 'sqlpassword' ? {} : ENTRA[value]?.(said.login, said.password)
  if (settings === undefined) {
    problems.push({ path, message: `is not one that is known; use one of ${AUTHENTICATIONS}` })
    return { record: said, notes, problems }
  }
  const method = value === 'sqlpassword' ? 'sql_auth' : 'azure_ad'
  extra.auth_method ??= method
  for (const [option, setting] of Object.entries(settings)) extra[option] ??= setting
  // Two ways to log in: either choice could log in as another identity than the user expects.
  if (SAME_METHOD[method]?.has(extra.auth_method) !== true) {
    problems.push({
      path,
      message: `means ${method}, but ${String(extra.auth_method)} is asked for too; keep one of them`,
    })
  } else if ('azure_credential' in settings && extra.azure_credential !== settings.azure_credential) {
    problems.push({
      path,
      message: `means azure_credential=${settings.azure_credential}, but ${String(extra.azure_credential)} is asked for too; keep one of them`,
    })
  }
  return { record: said, notes, problems }
}

/** `db\SALES` and `tcp:db,1444` are no host names, but are often written where one belongs. */
function withHostAlone(record: MssqlRecord, problems: ConfigProblem[]): MssqlRecord {
  if (record.host === undefined || !looksLikeServer(record.host)) return record
  const address = serverAddress(record.host)
  if (typeof address === 'string') {
    if (!isHostList(record.host)) problems.push({ path: 'host', message: address })
    return record
  }
  const { host, port = record.port, instance } = address
  if (record.port !== undefined && port !== record.port) {
    problems.push({ path: 'host', message: 'holds another port than port says; keep one of them' })
  }
  return {
    ...record,
    host,
    ...(port === undefined ? {} : { port }),
    extra: instance === undefined ? record.extra : { instance_name: instance, ...record.extra },
  }
}

function encryptOf(value: unknown): unknown {
  const word = String(value).toLowerCase()
  if (word === 'strict') return 'strict'
  if (TRUE.has(word) || word === 'mandatory') return 'true'
  if (FALSE.has(word) || word === 'optional') return 'false'
  return value
}

function intentOf(value: unknown): unknown {
  const word = plain(String(value))
  return word === 'readonly' ? 'ReadOnly' : word === 'readwrite' ? 'ReadWrite' : value
}
