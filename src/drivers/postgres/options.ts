import type { Connection } from '../../connections/connection.ts'
import {
  boolean,
  type Field,
  FieldMismatch,
  integer,
  LONGEST_TIMER_SECONDS,
  list,
  oneOf,
  path,
  pem,
  reference,
  seconds,
  secret,
  text,
  type ValuesOf,
} from '../../connections/fields.ts'
import type { Credential } from '../../credentials/credential.ts'
import { SESSION_TARGETS, TARGET_SYNONYMS } from '../session-target.ts'

export const SSL_MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const
export type SslMode = (typeof SSL_MODES)[number]

export const GSS_MODES = ['disable', 'prefer', 'require'] as const
export type GssMode = (typeof GSS_MODES)[number]

export const PROTOCOL_VERSIONS = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'] as const

/** Without separators; libpq does not look at the case either. */
const TLS_SYNONYMS = { tlsv1: 'TLSv1', tlsv11: 'TLSv1.1', tlsv12: 'TLSv1.2', tlsv13: 'TLSv1.3' } as const
/** Numbers as JSON and YAML have them, and without separators. */
const PROTOCOL_SYNONYMS = { 3: '3.0', 30: '3.0', 32: '3.2' } as const

/** Words of MySQL's and MariaDB's drivers and of Npgsql; the case and separators do not count. */
const SSL_MODE_SYNONYMS = {
  disable: 'disable',
  disabled: 'disable',
  allow: 'allow',
  prefer: 'prefer',
  preferred: 'prefer',
  require: 'require',
  required: 'require',
  verifyca: 'verify-ca',
  verifyfull: 'verify-full',
  verifyidentity: 'verify-full',
} as const

const SSL_WORDS = boolean({ description: '' })

/** JDBC's and libpq's `ssl=true`. Its other values mean something else in each driver. */
const sslField: Field<true | undefined> = {
  type: 'true',
  description: 'The same as `sslmode=require`, or stronger where `sslmode` or the strategy says so; JDBC writes it so.',
  default: undefined,
  aliases: [],
  secret: false,
  takesEmpty: true,
  parse(value) {
    try {
      if (SSL_WORDS.parse(value) === true) return true
    } catch (error) {
      if (!(error instanceof FieldMismatch)) throw error
    }
    throw new FieldMismatch(
      'expected true; write sslmode=verify-full (or require, or disable) in its place, and files as sslrootcert, sslcert, ' +
        'sslkey',
    )
  },
}

const connectTimeout = seconds({
  description:
    'Limit for connecting and logging in at one address of the host; the next address is tried after it, or sooner ' +
    'where `pool_timeout` would leave it no time. 0 or a negative number leaves it to the limit of the pool.',
  default: 15,
  max: LONGEST_TIMER_SECONDS,
})

function isNegative(value: unknown): boolean {
  return (typeof value === 'string' || typeof value === 'number') && /^\s*-\d+\s*$/.test(String(value))
}

/** The extras of the PostgreSQL driver, with libpq's names and meanings. */
export const postgresFields = {
  sslmode: oneOf(SSL_MODES, {
    synonyms: SSL_MODE_SYNONYMS,
    description:
      'How far the connection is protected by TLS. `disable`: never. `allow`: only if the server refuses an ' +
      'unencrypted session. `prefer`: if the server can. `require`: always, and verified if a root certificate ' +
      'file is there. `verify-ca`: the server certificate must be signed by a trusted authority. `verify-full`: ' +
      'and be issued for the host. Not used over a Unix socket. Default `prefer`; `verify-full` for ' +
      '`sslrootcert=system` and for the strategies that say so. Words of other drivers, such as `VERIFY_IDENTITY` and ' +
      '`VerifyFull`, are understood.',
  }),
  ssl: sslField,
  sslrootcert: pem('certificates', {
    words: ['system'],
    description:
      'PEM file with the certificates of the trusted authorities, or `system` for those of the operating system ' +
      '(implies `sslmode=verify-full`). Read again when it changes. Default `~/.postgresql/root.crt` if it exists.',
  }),
  sslcrl: pem('lists', {
    description:
      'PEM file with revoked certificates; it must cover every authority in the chain. Read again when it changes. ' +
      'Default `~/.postgresql/root.crl` if it exists.',
  }),
  sslcrldir: path({
    description:
      'Folder with lists of revoked certificates, named by `openssl rehash`; together with `sslcrl` they must cover ' +
      'every authority in the chain. Read again when it changes. Default: none.',
  }),
  sslcert: pem('certificates', {
    description:
      'PEM file with the client certificate (and its chain). Read again when it changes. ' +
      'Default `~/.postgresql/postgresql.crt` if it exists.',
  }),
  sslkey: pem('key', {
    description:
      'File with the private key of `sslcert`, in PEM, or in DER if it is not encrypted. Only its owner may have access to it (mode 0600), or, ' +
      'when root owns it, its group may read it (0640). Default `~/.postgresql/postgresql.key`.',
  }),
  sslcert_from: reference('The client certificate (PEM) in a store of secrets, in place of `sslcert`.'),
  sslkey_from: reference('Its private key (PEM) in a store of secrets, in place of `sslkey`.'),
  sslpassword: secret({ description: 'Passphrase of `sslkey`, when the key is encrypted.' }),
  sslcertmode: oneOf(['disable', 'allow', 'require'], {
    description:
      'Whether the client certificate is sent. `disable`: never. `allow`: when the server asks and there is one. ' +
      '`require`: the server must ask for it and be sent one, or there is no session.',
    default: 'allow',
  }),
  sslsni: boolean({
    description: 'Whether the host name is sent in the TLS handshake (server name indication).',
    default: true,
  }),
  sslnegotiation: oneOf(['postgres', 'direct'], {
    description:
      '`postgres`: ask the server whether it speaks TLS, then start. `direct`: start TLS at once, which saves a ' +
      'round trip (PostgreSQL 17 or later; needs `sslmode` `require` or stronger).',
    default: 'postgres',
  }),
  ssl_min_protocol_version: oneOf(PROTOCOL_VERSIONS, {
    synonyms: TLS_SYNONYMS,
    description: 'Lowest version of TLS that is accepted.',
    default: 'TLSv1.2',
  }),
  ssl_max_protocol_version: oneOf(PROTOCOL_VERSIONS, {
    synonyms: TLS_SYNONYMS,
    description: 'Highest version of TLS that is accepted. Default: the highest there is.',
  }),
  min_protocol_version: oneOf(['3.0', '3.2', 'latest'], {
    synonyms: PROTOCOL_SYNONYMS,
    description: 'Lowest version of the PostgreSQL protocol that is accepted. `3.2` needs PostgreSQL 18 or later.',
    default: '3.0',
  }),
  max_protocol_version: oneOf(['3.0', '3.2', 'latest'], {
    synonyms: PROTOCOL_SYNONYMS,
    description:
      'Version of the PostgreSQL protocol that is asked for; a server that does not know it offers a lower one. 3.2 ' +
      'brings longer keys for cancelling. Default `3.0`, or `latest` under a higher `min_protocol_version`.',
  }),
  channel_binding: oneOf(['disable', 'prefer', 'require'], {
    description:
      'Whether a SCRAM login is bound to the TLS session (SCRAM-SHA-256-PLUS), so that a machine in the middle ' +
      'cannot relay it.',
    default: 'prefer',
  }),
  requirepeer: text({
    pattern: { matches: /^[^\s/:]{1,64}$/, expected: 'the name of a user of the operating system' },
    description:
      'The user of the operating system that the server must run as, over a Unix socket. Needs the package `koffi`; not ' +
      'on Windows.',
  }),
  gssencmode: oneOf(GSS_MODES, {
    description:
      'Whether the session is encrypted by Kerberos (GSSAPI). `require`: always, or there is no session. `prefer`: if ' +
      'ticket and server allow it, else as `sslmode` says, with a `security:warning`. `disable`: never. Where it ' +
      'succeeds `sslmode` has no effect, `verify-full` included: both ends have proved themselves by their tickets. ' +
      'Not used over a Unix socket. Default `prefer` under `auth_method=kerberos`, else `disable`.',
  }),
  krbsrvname: text({
    description: "The service in the server's principal: `postgres` in `postgres/db.example.com@EXAMPLE.COM`.",
    default: 'postgres',
  }),
  krbspn: text({
    aliases: ['gss_target_principal'],
    description:
      "The server's principal in full, `postgres/db.example.com@EXAMPLE.COM`, where it does not follow from " +
      '`krbsrvname` and the host: behind an alias, an address or a tunnel.',
  }),
  gssdelegation: boolean({
    description:
      'Give the server a ticket with which it can act as the client (credential delegation). Needs a forwardable ticket.',
    default: false,
  }),
  require_auth: list({
    pattern: { matches: /^!?[\w-]{1,40}$/, expected: 'names of login methods, such as scram-sha-256' },
    description:
      'The login methods that the server may ask for: `password`, `md5`, `gss`, `sspi`, `scram-sha-256`, `none` ' +
      '(no proof asked for). With `!` before each, the ones that it may not. Default: any that we speak.',
  }),
  application_name: text({
    description:
      'Name of the application, as pg_stat_activity shows it. Default `fallback_application_name`, else `poolsmith`.',
  }),
  fallback_application_name: text({ description: 'Used where `application_name` is not set.' }),
  client_encoding: oneOf(['UTF8'], {
    synonyms: { utf8: 'UTF8', unicode: 'UTF8', auto: 'UTF8' },
    description: 'The encoding of the session, which is always UTF8.',
  }),
  options: text({
    description:
      'Command line options for the server process, as in `-c statement_timeout=5s`. DateStyle, IntervalStyle, ' +
      'extra_float_digits and standard_conforming_strings are set to the forms that pg reads, unless they are set ' +
      'here: then type parsers of your own must read them. PgBouncer refuses `options` unless its ' +
      '`ignore_startup_parameters` names them.',
  }),
  hostaddr: text({
    description:
      'IP address to connect to instead of resolving the host; the certificate is still checked against the host. For a ' +
      'list of hosts a list of as many, with an empty place for a host that is resolved.',
  }),
  target_session_attrs: oneOf(SESSION_TARGETS, {
    synonyms: TARGET_SYNONYMS,
    description:
      'The role that a server must have; where it has another, the next host is tried. `read-write`: its sessions can ' +
      'write. `read-only`: they cannot. `primary`: it is not in recovery. `standby`: it is. `prefer-standby`: a ' +
      'standby if there is one, else any. A session whose server changes its role is not handed out again.',
    default: 'any',
  }),
  load_balance_hosts: oneOf(['disable', 'random'], {
    description:
      '`random`: each opening tries the hosts, and the addresses of each, in another order. `disable`: in theirs.',
    default: 'disable',
  }),
  connect_timeout: {
    ...connectTimeout,
    parse: (value) => (isNegative(value) ? 0 : connectTimeout.parse(value)),
  } satisfies Field<number>,
  keepalives: boolean({
    description:
      'Whether TCP keep-alive probes are sent on an idle connection, and (on Linux) a connection is closed whose ' +
      'bytes have not been acknowledged for half a minute.',
    default: true,
  }),
  keepalives_idle: integer({
    description: 'Seconds of silence before the first keep-alive probe. 0: as the operating system has it (2 hours).',
    default: 60,
    min: 0,
  }),
} as const

/** The parsed extras of {@link postgresFields}. */
export type PostgresOptions = ValuesOf<typeof postgresFields>

/** The fields of a connection record that the driver uses. */
export type PostgresTarget = Pick<Connection, 'host' | 'port' | 'login' | 'database'>

/** The mode in use, with the default where none is given. */
export function effectiveSslMode(options: PostgresOptions): SslMode {
  if (options.sslmode !== undefined) return options.sslmode
  return options.sslrootcert === 'system' ? 'verify-full' : options.ssl === true ? 'require' : 'prefer'
}

/** The mode in use. Without `gssencmode`, Kerberos is used only where the login uses it. */
export function effectiveGssMode(options: PostgresOptions, credential: Pick<Credential, 'kind'>): GssMode {
  return options.gssencmode ?? (credential.kind === 'gss' ? 'prefer' : 'disable')
}
