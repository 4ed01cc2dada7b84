/**
 * The words of poolers and proxies between this machine and PostgreSQL.
 *
 * They report most errors under one SQLSTATE: PgBouncer under 08P01 (protocol violation), also those that it passes on from
 * the server, Supavisor and pgpool-II under XX000, RDS Proxy under a few. Their words are English in every installation, so
 * the words decide. Sources: PgBouncer 1.7 to 1.25 (client.c, janitor.c, objects.c, server.c), pgpool-II 4.3 to 4.6
 * (child.c, pool_auth.c), Supavisor (lib/supavisor/errors), and "Troubleshooting for RDS Proxy" of the Amazon RDS User Guide.
 */

import type { Advice } from './advice.ts'

interface Saying {
  readonly words: RegExp
  readonly advice: Advice
}

type Fields = Readonly<Record<string, string>>

const REFUSED: Advice = {
  code: 'LOGIN_REFUSED',
  hint:
    'Check the user and the password, in the record and in the pooler: auth_file or auth_query of PgBouncer, pool_passwd of ' +
    'pgpool-II, the secret of RDS Proxy.',
}
const UNKNOWN_ROLE: Advice = {
  code: 'LOGIN_ROLE_UNUSABLE',
  hint:
    'Check the user name, and make the role known to the pooler: a line in pool_passwd of pgpool-II, a secret for RDS Proxy. ' +
    'Supavisor expects USER.PROJECT.',
}
const NOT_ADMITTED: Advice = {
  code: 'LOGIN_NOT_ADMITTED',
  hint: 'Compare the user, the database and the address with the rules of the pooler, and with pg_hba.conf of the server, which sees the address of the pooler.',
}
const NO_DATABASE: Advice = {
  code: 'DATABASE_NOT_FOUND',
  hint: 'Check the name of the database, which is case-sensitive; PgBouncer knows those of its section [databases].',
}
const FULL: Advice = {
  code: 'SERVER_FULL',
  transient: true,
  hint:
    'Lower pool_size and max_overflow of the clients, or raise the limits of the pooler: max_client_conn and ' +
    'default_pool_size of PgBouncer, num_init_children of pgpool-II, the connection pool of RDS Proxy, the pool size of Supavisor.',
}
const NO_SERVER_FREE: Advice = {
  code: 'SERVER_FULL',
  transient: true,
  hint:
    'PgBouncer had no connection to the server free within query_wait_timeout. Make transactions shorter or raise ' +
    'default_pool_size; check that the server runs, and RESUME a paused database.',
}
const BUSY: Advice = {
  code: 'SERVER_THROTTLED',
  transient: true,
  hint: 'Open fewer connections at a time: lower pool_size, or share one pool among more of the program.',
}
const NOT_READY: Advice = {
  code: 'SERVER_NOT_READY',
  transient: true,
  hint: 'Wait: the pooler has no usable server. If it lasts, look at the server behind it and into the log of the pooler.',
}
const OPTION: Advice = {
  code: 'SETTING_REFUSED',
  hint:
    'Leave `options` out and set the value for the role (ALTER ROLE … SET …). PgBouncer ignores `options` if ' +
    'ignore_startup_parameters names them, and from 1.20 on accepts those of track_extra_parameters; RDS Proxy takes none.',
}
const TLS: Advice = {
  code: 'TLS_NEEDED',
  hint: 'Use sslmode=verify-full (or at least require): the pooler accepts TLS only.',
}

const PASSED_ON = '^(?:Request returned an error: )?'

/** In this order; the first that fits counts. Most are matched from their beginning, since names of users follow in some. */
const SAYINGS: readonly Saying[] = [
  // RDS Proxy: a token
  {
    words: /^(?:The )?IAM authentication failed for /,
    advice: {
      code: 'LOGIN_REFUSED',
      hint: 'Allow rds-db:connect for this user on the proxy (its prx- resource id), let the proxy take IAM, and use its endpoint and region for the token.',
    },
  },
  // pgpool-II
  { words: /^client authentication failed\b/, advice: NOT_ADMITTED },
  { words: /^failed to authenticate with backend using .*valid password not found/, advice: UNKNOWN_ROLE },
  {
    words: /^(?:backend authentication failed|failed to authenticate with backend)\b/,
    advice: {
      code: 'SERVER_ERROR',
      transient: true,
      hint: "pgpool-II could not log in to the server behind it, and does not pass on the server's error: see its log. Its pool_passwd may be outdated.",
    },
  },
  { words: /^authentication failed\b/, advice: REFUSED },
  {
    words: /^all backend nodes are down|^failed to create a backend connection|^unable to connect to backend/,
    advice: NOT_READY,
  },
  { words: /^pgpool is not accepting any/, advice: NOT_READY },
  // PgBouncer, and Supavisor's codes in parentheses
  { words: /^(?:\w+|"trust") authentication failed\b/, advice: REFUSED },
  {
    words: /^\(EWRONGPASSWORD\)|^\(EJITUNAUTHORIZED\)|^(?:no such user|login rejected|Wrong password)$/,
    advice: REFUSED,
  },
  { words: /^unix socket login rejected$/, advice: REFUSED },
  { words: /^no more connections allowed|^client connections exceeded/, advice: FULL },
  { words: /^query_wait_timeout$/, advice: NO_SERVER_FREE },
  {
    words: /^(?:client_login_timeout|suspend_timeout|server login has been failing|server_login_retry)/,
    advice: NOT_READY,
  },
  { words: /^(?:pooler is shutting down|server shutting down|pgbouncer cannot connect to server)$/, advice: NOT_READY },
  { words: /^(?:authentication )?database ".*" is disabled$/, advice: NOT_READY },
  { words: /^no such database\b/, advice: NO_DATABASE },
  { words: /^unsupported (?:options )?startup parameter\b/, advice: OPTION },
  { words: /^SSL required$/, advice: TLS },
  {
    words: /^not allowed$/,
    advice: { code: 'DATABASE_NOT_PERMITTED', hint: 'Name the user in admin_users or stats_users of PgBouncer.' },
  },
  {
    words: /^server login failed: (?:wrong password type|none of the server's|invalid server signature)/,
    advice: {
      code: 'SERVER_ERROR',
      hint: "PgBouncer cannot log in to the server: give auth_file the password, or the role's SCRAM secret as the server stores it.",
    },
  },
  // RDS Proxy
  { words: /^The password that was provided for the role .* is wrong/, advice: REFUSED },
  { words: /^This RDS proxy has no credentials for the role /i, advice: UNKNOWN_ROLE },
  { words: /^The maximum number of client connections to the proxy exceeded/, advice: FULL },
  { words: /^Timed-out waiting to acquire database connection/, advice: FULL },
  { words: /^Rate of connection to proxy exceeded|too many competing requests/, advice: BUSY },
  { words: /RDS Proxy currently doesn.t support (?:command-line options|the option)/, advice: OPTION },
  { words: /^This RDS Proxy requires TLS|^IAM (?:authentication )?is allowed only with SSL/, advice: TLS },
  {
    words: /^(?:Feature not supported: )?RDS (?:Proxy )?supports only IAM/,
    advice: {
      code: 'AUTH_METHOD_UNSUPPORTED',
      hint: 'Set the client password authentication type of the proxy to SCRAM-SHA-256, or use auth_method=iam.',
    },
  },
  // Supavisor, with the codes of its present version and the words of earlier ones
  {
    words: /^\((?:ENOTFOUND|ENOIDENTIFIER|EINVALIDUSERINFO|EMULTIPLEUSERS)\)|^Tenant or user not found/,
    advice: UNKNOWN_ROLE,
  },
  {
    words: /^\((?:EMAX\w+|ECHECKOUT\w+|EPOOLCHECKOUT)\)|^(?:MaxClientsInSessionMode|Max client connections reached)/,
    advice: FULL,
  },
  { words: /^Unable to check out process from the pool due to timeout/, advice: FULL },
  {
    words: /^\(ECIRCUITBREAKER\)/,
    advice: {
      ...BUSY,
      hint: 'Mend what failed before, as a rule the password: Supavisor blocks the user for a while after many failures.',
    },
  },
  { words: /^\((?:EPOOLTERMINATING|EDBHANDLEREXITED|EWORKERNOTFOUND|ESUBSCRIBERETRIES)\)/, advice: NOT_READY },
  { words: /^\((?:EADDRNOTALLOWED|EBANNED)\)|^Address not in tenant allow_list/, advice: NOT_ADMITTED },
  { words: /^\(ESSLREQUIRED\)|^SSL connection is required/, advice: TLS },
  // The server's own words, which a pooler passes on without their SQLSTATE
  { words: new RegExp(`${PASSED_ON}database ".*" does not exist`), advice: NO_DATABASE },
  { words: new RegExp(`${PASSED_ON}role ".*" (?:does not exist|is not permitted to log in)`), advice: UNKNOWN_ROLE },
  { words: new RegExp(`${PASSED_ON}(?:no pg_hba.conf entry for|pg_hba.conf rejects) `), advice: NOT_ADMITTED },
  {
    words: new RegExp(
      `${PASSED_ON}(?:sorry, too many clients|remaining connection slots|too many connections for)`,
      'i',
    ),
    advice: FULL,
  },
  { words: new RegExp(`${PASSED_ON}the database system is `), advice: NOT_READY },
  {
    words: new RegExp(`${PASSED_ON}permission denied for database`),
    advice: { code: 'DATABASE_NOT_PERMITTED', hint: 'GRANT CONNECT ON DATABASE … TO … for this role.' },
  },
]

/** PgBouncer repeats the last failure of its own login to the server. */
const REPEATED = /^server login has been failing, cached error: (.*) \(server_login_retry\)$/s

/** The meaning of an error at the login in a pooler's words; undefined for the words of a PostgreSQL server. */
export function poolerAdvice(fields: Fields): Advice | undefined {
  if (!isPoolers(fields)) return undefined
  const { M: message = '', D: detail } = fields
  // pgpool-II puts the reason into the detail.
  const text = detail === undefined ? message : `${message}: ${detail}`
  const [, repeated] = REPEATED.exec(text) ?? []
  const inner = repeated === undefined ? undefined : adviceFor(repeated.replace(/^(?:FATAL|ERROR):? +/, ''))
  return inner ?? adviceFor(text)
}

function adviceFor(text: string): Advice | undefined {
  return SAYINGS.find(({ words }) => words.test(text))?.advice
}

/** The end of an open session in a pooler's words. */
const ENDS: readonly { readonly words: RegExp; readonly hint: string }[] = [
  { words: /^query_wait_timeout$/, hint: `The statement did not run. ${NO_SERVER_FREE.hint}` },
  { words: /^query[ _]timeout$/, hint: 'Make the statement shorter, or raise query_timeout of PgBouncer.' },
  {
    words: /^(?:idle )?transaction timeout$/,
    hint: 'Do not wait for anything else inside a transaction, or raise idle_transaction_timeout (or transaction_timeout) of PgBouncer.',
  },
  {
    words: /client.idle.(?:timeout|limit)/,
    hint: 'Set pool_idle_timeout below client_idle_timeout of PgBouncer or client_idle_limit of pgpool-II.',
  },
]

/** The hint for an error with which a pooler ends an open session. */
export function poolerEndHint(error: {
  readonly message: string
  readonly routine?: string | undefined
}): string | undefined {
  return isPoolers({ R: error.routine }) ? ENDS.find(({ words }) => words.test(error.message))?.hint : undefined
}

/** PostgreSQL names the routine that raised an error (field R); no pooler has one. */
function isPoolers({ R }: { readonly R?: string | undefined }): boolean {
  return R === undefined
}
