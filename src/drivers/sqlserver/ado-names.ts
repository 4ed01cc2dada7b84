/**
 * Microsoft's own spellings of connection options (ADO.NET, ODBC, JDBC), said in ours. A pure function: it looks at
 * nothing but what it is given.
 */

import type { ConfigProblem } from '../../errors.ts'
import { Secret } from '../../secret.ts'

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
  /** What was left out, and why. */
  readonly notes: readonly ConfigProblem[]
  readonly problems: readonly ConfigProblem[]
}

/** Spellings are compared without case, spaces, underscores and hyphens, as Microsoft's drivers do. */
const plain = (key: string): string => key.toLowerCase().replaceAll(/[\s_-]/g, '')

/** Other names for options that we have, with the same values. */
const RENAMED: Readonly<Record<string, string>> = {
  trustservercertificate: 'trust_server_certificate',
  hostnameincertificate: 'host_name_in_certificate',
  servercertificate: 'ca_file',
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
  instancename: 'instance_name',
}

const SERVER = new Set(['server', 'servername', 'datasource', 'address', 'addr', 'networkaddress'])
const DATABASE = new Set(['database', 'databasename', 'initialcatalog'])
const LOGIN = new Set(['uid', 'user', 'userid', 'username'])
const PASSWORD = new Set(['pwd', 'password'])
const INTEGRATED = new Set(['trustedconnection', 'integratedsecurity'])

/** Keys that mean something to one of Microsoft's drivers and nothing here. */
const IGNORED = new Set([
  'driver',
  'dsn',
  'filedsn',
  'savefile',
  'marsconnection',
  'multipleactiveresultsets',
  'ansinpw',
  'autotranslate',
  'quotedid',
  'regional',
  'usefmtonly',
  'queryloglogfile',
  'querylogon',
  'statslogon',
  'transparentnetworkipresolution',
  'columnencryption',
  'columnencryptionsetting',
  'connectretrycount',
  'connectretryinterval',
  'persistsecurityinfo',
  'pooling',
  'maxpoolsize',
  'minpoolsize',
  'connectionlifetime',
  'loadbalancetimeout',
  'enlist',
  'asynchronousprocessing',
  'typesystemversion',
  'failoverpartner',
  'network',
  'networklibrary',
  'provider',
  'replication',
  'keepalive',
  'keepaliveinterval',
  'longasmax',
])

const TRUE = new Set(['true', 'yes', '1', 'sspi', 'on'])
const FALSE = new Set(['false', 'no', '0', 'off'])

const KNOWN = new Set([
  ...Object.keys(RENAMED),
  ...SERVER,
  ...DATABASE,
  ...LOGIN,
  ...PASSWORD,
  ...INTEGRATED,
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
  activedirectorydefault: () => ({ azure_credential: 'default' }),
  // These take the login and the password as the record has them.
  activedirectorypassword: () => ({ azure_credential: 'password' }),
  activedirectoryinteractive: () => ({ azure_credential: 'interactive' }),
  activedirectorydevicecodeflow: () => ({ azure_credential: 'device_code' }),
  activedirectoryintegrated: () => ({ azure_credential: 'integrated' }),
}

const WITHOUT_A_PERSON =
  'use ActiveDirectoryServicePrincipal, ActiveDirectoryMsi, ActiveDirectoryWorkloadIdentity or ActiveDirectoryDefault'

function managedIdentity(login: string | undefined): object {
  return {
    azure_credential: 'managed_identity',
    ...(login === undefined ? {} : { managed_identity_client_id: login }),
  }
}

/**
 * Says Microsoft's spellings in ours: `Encrypt=Mandatory`, `Trusted_Connection=yes`, `Server=tcp:db\SALES,1433`,
 * `Authentication=ActiveDirectoryMsi`. Keys that are ours already, or unknown, pass as they are. What the record
 * itself says of host, login and database comes first.
 */
export function normaliseMssqlExtras(given: MssqlRecord): NormalisedMssql {
  const notes: ConfigProblem[] = []
  const problems: ConfigProblem[] = []
  const extra: Record<string, unknown> = {}
  const fields: { -readonly [K in keyof MssqlRecord]?: MssqlRecord[K] } = {}
  let authentication: { readonly key: string; readonly value: string } | undefined
  let trustKey: string | undefined
  const set = (key: string, name: string, value: unknown): void => {
    if (Object.hasOwn(extra, name))
      problems.push({ path: `extra.${key}`, message: `says the same as ${name}; keep one of them` })
    else extra[name] = value
  }

  for (const [key, wrapped] of Object.entries(given.extra)) {
    const name = plain(key)
    const path = `extra.${key}`
    // What looks like a secret has been wrapped; only a password is one.
    const value = wrapped instanceof Secret && !PASSWORD.has(name) && KNOWN.has(name) ? wrapped.reveal() : wrapped
    // An empty value is how forms and URIs say "not set".
    if (KNOWN.has(name) && (value === undefined || value === null || value === '')) continue
    if (IGNORED.has(name)) {
      notes.push({ path, message: 'means something to an ODBC or ADO.NET driver only; ignored' })
    } else if (name === 'encrypt') set(key, 'encrypt', encryptOf(value))
    else if (name === 'applicationintent') set(key, 'application_intent', intentOf(value))
    else if (SERVER.has(name)) {
      const { host, port, instance } = serverOf(String(value))
      fields.host = host
      if (port !== undefined) fields.port = port
      if (instance !== undefined) extra.instance_name ??= instance
    } else if (DATABASE.has(name)) fields.database = String(value)
    else if (LOGIN.has(name)) fields.login = String(value)
    else if (PASSWORD.has(name)) fields.password = value instanceof Secret ? value : new Secret(String(value))
    else if (INTEGRATED.has(name)) {
      const word = String(value).toLowerCase()
      if (TRUE.has(word)) set(key, 'auth_method', 'kerberos')
      else if (!FALSE.has(word)) problems.push({ path, message: `expected yes or no, got ${JSON.stringify(value)}` })
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
  const record: MssqlRecord = { ...fields, ...own, extra }
  if (authentication === undefined) return { record, notes, problems }

  const { key, value } = authentication
  const path = `extra.${key}`
  const entra = ENTRA[value]
  if (value === 'sqlpassword') extra.auth_method ??= 'sql_auth'
  else if (value === 'notspecified') return { record, notes, problems }
  else if (entra !== undefined) {
    extra.auth_method ??= 'azure_ad'
    for (const [option, setting] of Object.entries(entra(record.login, record.password))) extra[option] ??= setting
  } else problems.push({ path, message: `is not one that is known; ${WITHOUT_A_PERSON}` })
  return { record, notes, problems }
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

/** `tcp:db.example.com\SALES,1433`, `(local)`, `.`; the port wins over the instance, as in Microsoft's drivers. */
function serverOf(text: string): { host: string; port?: number; instance?: string } {
  const [, address = '', instance, port] =
    /^(?:tcp:|np:|lpc:)?\s*([^\\,]+?)\s*(?:\\([^,]+?))?\s*(?:,\s*(\d+))?\s*$/i.exec(text) ?? []
  const host = address === '.' || /^\(local\)$/i.test(address) || address === '' ? 'localhost' : address
  return {
    host,
    ...(port === undefined ? {} : { port: Number(port) }),
    ...(instance === undefined || instance.toUpperCase() === 'MSSQLSERVER' || port !== undefined ? {} : { instance }),
  }
}
