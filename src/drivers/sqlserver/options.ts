import type { Connection } from '../../connections/connection.ts'
import {
  boolean,
  integer,
  LONGEST_TIMER_SECONDS,
  oneOf,
  pem,
  seconds,
  text,
  type ValuesOf,
} from '../../connections/fields.ts'
import type { ConfigProblem } from '../../errors.ts'

/** The longest text in a login (MS-TDS 2.2.6.4), in characters; a server closes the connection over a longer one. */
const LONGEST_TEXT = 128

/** A packet must fit into one record of TLS (Microsoft Learn, "network packet size"). */
const LARGEST_ENCRYPTED_PACKET = 16_383

const ENCRYPT = ['true', 'false', 'strict'] as const

/** The extras that the SQL Server driver understands. Microsoft's own spellings are in ado-names.ts. */
export const sqlServerFields = {
  encrypt: oneOf(ENCRYPT, {
    default: 'true',
    description:
      '`true`: the session is encrypted, and the certificate of the server is verified. `strict`: TLS before anything ' +
      'else (TDS 8.0), always verified. `false`: only the login is encrypted, unless the server insists on the ' +
      'session; the certificate is verified where the server insists, and where `ca_file`, `server_certificate` or ' +
      '`host_name_in_certificate` is set.',
  }),
  trust_server_certificate: boolean({
    default: false,
    description:
      'Accept any certificate, so that anyone on the way can read and change everything. Raises a `security:warning`. Not ' +
      'together with `strict`, `ca_file` or `server_certificate`.',
  }),
  host_name_in_certificate: text({
    description: "The name that the server's certificate must hold, where it is not the host's.",
  }),
  ca_file: pem('certificates', {
    words: ['system'],
    aliases: ['sslrootcert'],
    description:
      'PEM file with the certificates of the trusted authorities, or `system` for those of the operating system. Read ' +
      "again when it changes. Default: Node's own list, and NODE_EXTRA_CA_CERTS.",
  }),
  server_certificate: pem('certificates', {
    description:
      'PEM or DER file with a copy of the certificate of the server: it is accepted, whatever authority signed it and ' +
      'it holds, and no other.',
  }),
  instance_name: text({
    description:
      'A named instance: its port is asked of the SQL Server Browser (UDP 1434), unless the connection has a port.',
  }),
  application_intent: oneOf(['ReadWrite', 'ReadOnly'], {
    default: 'ReadWrite',
    description: '`ReadOnly` lets an availability group send the session to a secondary replica.',
  }),
  server_routing: oneOf(['any', 'domain', 'none'], {
    default: 'any',
    description:
      'Where the server may send the login on to, as availability groups and Azure SQL do: `any` server, whose ' +
      "certificate is verified like the first one's; a server in the `domain` of the host (behind the first dot of its " +
      'name); or `none`.',
  }),
  multi_subnet_failover: boolean({
    default: false,
    description: 'Connect to all addresses of the host at once and keep the first that answers.',
  }),
  connect_timeout: seconds({
    default: 15,
    max: LONGEST_TIMER_SECONDS,
    description: 'The time limit for opening one session, from name resolution to login. 0 for none.',
  }),
  request_timeout: seconds({
    default: 0,
    description:
      'How long a statement may take until its first row or result, and how long the server may be silent between two ' +
      'pieces of the answer while the reader does not pause it; it is then cancelled, and the session closed if that takes as ' +
      'long again (5 seconds at most). 0 for no limit; a network that is gone is noticed within 40 seconds all the same.',
  }),
  packet_size: integer({
    default: 4096,
    min: 512,
    max: 32_767,
    description:
      'The size of network packets that is asked for, in bytes; at most 16383 where the session is encrypted. The ' +
      'server may give less.',
  }),
  application_name: text({ default: 'poolsmith', description: 'Shown in sys.dm_exec_sessions and in audit logs.' }),
  workstation_id: text({ description: 'The name of this machine as the server sees it. Default: its host name.' }),
  language: text({
    description:
      'The language of messages, of the names of months, and of dates in text (SET LANGUAGE), such as `us_english`. ' +
      "Default: the login's own.",
  }),
  mssql_spn: text({
    description:
      'The service principal name of the server for Kerberos and NTLM, such as `MSSQLSvc/db.example.com:1433`. Default: made ' +
      'from the host and the port, or the instance.',
  }),
  gss_mechanism: oneOf(['krb5', 'spnego'], {
    default: 'krb5',
    description:
      'How the Kerberos ticket is wrapped: as it is, or in SPNEGO. The ticket is the same; NTLM is in neither.',
  }),
  extended_protection: boolean({
    default: true,
    description:
      'Bind a login by Kerberos or NTLM to its TLS session (channel binding, RFC 5929), which a server with Extended ' +
      'Protection insists on. Switch it off only where something between ends TLS and opens another session to the server.',
  }),
  gssdelegation: boolean({
    default: false,
    description: 'Hand the server a ticket to act for us, for linked servers. Needs a forwardable ticket.',
  }),
  exact_values: boolean({
    default: false,
    description:
      'Give decimals, money, dates and times as text with every digit instead of numbers and `Date`s, and bind a ' +
      '`Date` as `datetime2`. One query decides otherwise by `.options({ exactValues: true })`. The rows of requests of ' +
      'your own, and of the package mssql, are given so too.',
  }),
  use_utc: boolean({
    default: true,
    description:
      'Whether `datetime`, `datetime2` and `time` are read and bound as UTC; otherwise in the time zone of this process.',
  }),
  lower_case_guids: boolean({
    default: false,
    description: 'Give a `uniqueidentifier` in lower case.',
  }),
  unicode_strings: boolean({
    default: true,
    description:
      'Bind text as `nvarchar`, as knex does. `false`: text of ASCII characters alone is bound as `varchar`, so that the ' +
      'server can look it up in the index of a `varchar` column; other text stays `nvarchar`, so that none is lost.',
  }),
} as const

export type SqlServerOptions = ValuesOf<typeof sqlServerFields>

/** Where the server is. */
export type SqlServerTarget = Pick<Connection, 'host' | 'port' | 'login' | 'database'>

/** The problems of the options taken together. */
export function checkSqlServerOptions(target: SqlServerTarget, options: SqlServerOptions): readonly ConfigProblem[] {
  const problems: ConfigProblem[] = []
  if (target.host?.startsWith('/')) {
    problems.push({ path: 'host', message: 'SQL Server has no Unix sockets; give a host name or an address' })
  }
  for (const [path, text] of [
    ['login', target.login],
    ['database', target.database],
    ['extra.application_name', options.application_name],
    ['extra.workstation_id', options.workstation_id],
    ['extra.language', options.language],
  ] as const) {
    if ((text?.length ?? 0) > LONGEST_TEXT) {
      problems.push({ path, message: `SQL Server takes at most ${LONGEST_TEXT} characters` })
    }
  }
  if (options.encrypt === 'strict' && options.trust_server_certificate) {
    problems.push({
      path: 'extra.trust_server_certificate',
      message: 'encrypt=strict always verifies the certificate; give ca_file or host_name_in_certificate instead',
    })
  }
  for (const name of ['server_certificate', 'ca_file'] as const) {
    if (!options.trust_server_certificate || options[name] === undefined) continue
    problems.push({
      path: `extra.${name}`,
      message: 'checks nothing under trust_server_certificate=true; leave one of them out',
    })
  }
  if (options.encrypt !== 'false' && options.packet_size > LARGEST_ENCRYPTED_PACKET) {
    problems.push({
      path: 'extra.packet_size',
      message: `the server takes at most ${LARGEST_ENCRYPTED_PACKET} where the session is encrypted`,
    })
  }
  return problems
}
