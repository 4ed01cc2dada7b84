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
import { SESSION_TARGETS, TARGET_SYNONYMS } from '../session-target.ts'

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
      'together with `strict`, `ca_file`, `server_certificate` or `host_name_in_certificate`.',
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
  failover_partner: text({
    description:
      'The other server of a mirrored database, as `db2`, `db2,1444` or `db2\\SALES`: it is tried after `host`, as in a ' +
      'list of two. As in SqlClient it needs a database, and stands beside no `multi_subnet_failover` and no ' +
      '`application_intent=ReadOnly`. A partner that the server names is not used.',
  }),
  failover_partner_spn: text({
    description: 'As `mssql_spn`, for `failover_partner`.',
  }),
  target_session_attrs: oneOf(SESSION_TARGETS, {
    synonyms: TARGET_SYNONYMS,
    description:
      'What the database must allow; where it does not, the next host is tried. `read-write` and `primary`: it can be ' +
      'written. `read-only` and `standby`: it cannot (a readable secondary replica). `prefer-standby`: one that cannot ' +
      'be written if there is one, else any. A session whose database changes in this is not handed out again.',
    default: 'any',
  }),
  load_balance_hosts: oneOf(['disable', 'random'], {
    description: '`random`: each opening tries the hosts of a list in another order. `disable`: in theirs.',
    default: 'disable',
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
    description:
      'The time limit for opening one session, from name resolution to login. Of a list of hosts, for each. 0 for none.',
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
