/**
 * The one family of errors that poolsmith raises.
 *
 * Every error carries a stable `code`, the `phase` in which it happened and a `hint` that says what to do.
 * Messages never hold a secret: they are built from names, paths, hosts and the words of servers only.
 */

/** Where on the way from a connection record to a result an error happened. */
export type Phase =
  | 'config'
  | 'credential'
  | 'dns'
  | 'connect'
  | 'proxy'
  | 'tls'
  | 'gss'
  | 'login'
  | 'pool'
  | 'query'
  | 'write'

/**
 * Every code, with the plain meaning that the documentation shows.
 * A code is a promise to callers: it may be added to, never renamed.
 */
export const ERROR_CODES = {
  // config
  CONFIG_INVALID: 'The connection record or an option is wrong; `problems` lists all of them.',
  CONNECTION_NOT_FOUND: 'No store knows a connection by this id.',
  STRATEGY_UNKNOWN: 'No strategy is registered under this `auth_method` for this database.',
  PACKAGE_MISSING: 'An optional package that this strategy, driver or format needs is not installed.',
  // credential
  CREDENTIAL_FAILED: 'The credential could not be obtained; `transient` says whether trying again can help.',
  CREDENTIAL_REFUSED: 'The issuer refused to give the credential.',
  CREDENTIAL_INVALID: 'A strategy returned something that is no credential; the message says what is wrong.',
  CREDENTIAL_MISSING: 'No credential was found: no key, profile, file or identity on this machine.',
  CREDENTIAL_TIMEOUT: 'The issuer of the credential did not answer within the time limit of one fetch.',
  SIGN_IN_IMPOSSIBLE: 'A person has to sign in, and this process cannot show a prompt.',
  SIGN_IN_TIMEOUT: 'The sign-in was not completed within `sign_in_timeout`.',
  CREDENTIAL_EXPIRED: 'The credential had expired when it arrived.',
  // credential: from a store of secrets
  STORE_UNREACHABLE: 'The store of secrets cannot be reached, or shows a certificate that is not trusted.',
  STORE_TIMEOUT: 'The store of secrets did not answer within the time limit of one request.',
  STORE_SEALED: 'The store of secrets is sealed or in maintenance.',
  STORE_KEY_UNUSABLE: 'The store cannot decrypt the secret: its key is disabled, deleted or not allowed.',
  STORE_FAILED: 'The store of secrets reports a fault of its own, or asks for fewer requests.',
  STORE_REFUSED: 'The store of secrets refuses the login, the token, or the access to the path.',
  STORE_REDIRECTED: 'The store of secrets redirects to a place to which no token is sent.',
  STORE_ANSWER_UNUSABLE: 'What answers in place of the store of secrets sends something else, or too much.',
  SECRET_MISSING: 'The store has no secret at this path.',
  SECRET_DELETED: 'The version of the secret that would be read was deleted, destroyed or disabled.',
  SECRET_FIELD_MISSING: 'The secret has no field of this name.',
  SECRET_CONFLICT: 'The store has another version of the secret than the one that was to be replaced.',
  SECRET_UNUSABLE: 'The secret is not of the kind that is needed: binary, empty, or no text.',
  SECRET_FILE_REFUSED: 'The file of a secret cannot be read or written, or other users can write it.',
  ENCRYPTED_FILE_DAMAGED: 'The encrypted file of secrets is damaged or incomplete.',
  ENCRYPTED_FILE_FOREIGN: 'The file that is named is no encrypted file of secrets.',
  ENCRYPTED_FILE_VERSION: 'The encrypted file of secrets was written by a newer poolsmith.',
  ENCRYPTED_FILE_LOCKED: 'Another writer held the lock of the encrypted file of secrets for the whole time.',
  ENCRYPTED_KEY_MISSING: 'No key for the encrypted file of secrets is given, or several.',
  ENCRYPTED_KEY_INVALID: 'The key for the encrypted file of secrets has another form, or its command failed.',
  ENCRYPTED_KEY_WRONG: 'The encrypted file of secrets is encrypted with another key, or was altered on purpose.',
  // credential: from a Kerberos ticket to a token of Entra
  FEDERATION_MISSING: 'The domain of the user has no federation that accepts a Kerberos ticket.',
  FEDERATION_NO_ENDPOINT: 'The federation service has no https endpoint that accepts a Kerberos ticket.',
  FEDERATION_REFUSED: 'The federation service refused the Kerberos ticket, or its owner.',
  FEDERATION_NOT_GENUINE: 'The federation service could not prove its identity.',
  FEDERATION_FAILED: 'An answer between the ticket and the token cannot be used; `details.step` names the step.',
  // credential: the client certificate and its key
  CERTIFICATE_FILE_MISSING: 'The client certificate file does not exist.',
  CERTIFICATE_FILE_UNREADABLE: 'The client certificate file cannot be read.',
  CERTIFICATE_MALFORMED: 'The client certificate file holds no certificate in PEM form.',
  CERTIFICATE_EXPIRED: 'The client certificate has expired.',
  CERTIFICATE_NOT_YET_VALID: 'The client certificate is not valid yet.',
  KEY_FILE_MISSING: 'The private key file does not exist.',
  KEY_FILE_UNREADABLE: 'The private key file cannot be read.',
  KEY_PERMISSIONS: 'Other users of the machine can read the private key file.',
  KEY_MALFORMED: 'The private key file holds no key in PEM form.',
  KEY_PASSPHRASE_MISSING: 'The private key is encrypted, and no passphrase is given.',
  KEY_PASSPHRASE_WRONG: 'The passphrase does not open the private key.',
  KEY_MISMATCH: 'The private key does not belong to the client certificate.',
  // tls: the files that say whom we trust
  CA_FILE_MISSING: 'The file of trusted root certificates does not exist.',
  CA_FILE_UNREADABLE: 'The file of trusted root certificates cannot be read.',
  CA_FILE_MALFORMED: 'The file of trusted root certificates holds none in PEM form.',
  CRL_FILE_MISSING: 'The certificate revocation list does not exist.',
  CRL_FILE_UNREADABLE: 'The certificate revocation list cannot be read.',
  CRL_FILE_MALFORMED: 'The certificate revocation list is not in PEM form.',
  // kerberos
  GSS_LIBRARY_MISSING: 'The system has no MIT Kerberos library; the hint says how to install it.',
  KRB5_CONFIG_INVALID: 'krb5.conf cannot be read or understood, or names no default realm.',
  TICKET_MISSING: 'There is no Kerberos ticket where krb5 looks for one by default.',
  TICKET_CACHE_MISSING: 'The ticket cache that was named does not exist, or holds no ticket.',
  TICKET_CACHE_UNREADABLE: 'The ticket cache exists, but this process may not read it.',
  TICKET_CACHE_EMPTY: 'The ticket cache is an empty or truncated file.',
  TICKET_CACHE_CORRUPT: 'The ticket cache is damaged or is not a ticket cache.',
  TICKET_CACHE_TYPE_UNKNOWN:
    "The type in front of the cache's name (FILE, DIR, KEYRING, MEMORY, KCM) is not one that krb5 knows.",
  TICKET_CACHE_DAEMON_MISSING: 'The cache is kept by a daemon (KCM) that is not running or cannot be reached.',
  TICKET_CACHE_NOT_WRITABLE: 'A new ticket cannot be written to the cache.',
  TICKET_CACHE_NOT_TRUSTED:
    "The cache's file or its lock is a link, belongs to another user, or may be written by others; it is not replaced.",
  TICKET_CACHE_LOCKED: 'Another updater kept the ticket cache locked for the whole time.',
  TICKET_PRINCIPAL_MISMATCH: 'The ticket cache belongs to another principal than the one that was asked for.',
  TICKET_EXPIRED: 'The Kerberos ticket has expired.',
  TICKET_EXPIRES_SOON: 'The Kerberos ticket has less than `min_ticket_lifetime` left.',
  TICKET_NOT_YET_VALID: 'The Kerberos ticket is not valid yet; a clock may be slow.',
  TICKET_REFUSED:
    'The KDC or the server cannot decrypt the ticket: another KDC issued it, or the keys have changed since.',
  TICKET_NOT_RENEWABLE: 'The ticket cannot be renewed: it is not renewable, or its renewable lifetime has ended.',
  KEYTAB_MISSING: 'The keytab does not exist.',
  KEYTAB_UNREADABLE: 'The keytab exists, but this process may not read it.',
  KEYTAB_CORRUPT: 'The file is not a keytab, or is damaged.',
  KEYTAB_WITHOUT_PRINCIPAL: 'The keytab holds no key for the principal.',
  KEYTAB_REFUSED: "The KDC does not accept the keytab's key: the password or key was changed since it was written.",
  PRINCIPAL_MALFORMED: 'The name of a principal is not well-formed.',
  PRINCIPAL_UNKNOWN: 'The Kerberos database does not know the client principal.',
  PRINCIPAL_REFUSED: 'The KDC knows the principal but refuses it: locked, expired, or against its policy.',
  PREAUTH_UNSUPPORTED: 'The KDC asks for a proof, such as a smart card, that neither a keytab nor a password gives.',
  KDC_UNREACHABLE: 'No KDC of the realm can be reached.',
  KDC_TIMEOUT: 'No KDC of the realm answered within the time limit.',
  REALM_UNKNOWN: "Neither krb5.conf nor DNS says where the realm's KDC is.",
  CLOCK_SKEW: "This machine's clock and the KDC's (or the server's) differ too much for Kerberos.",
  ENCRYPTION_TYPE_REFUSED: 'Client, KDC and keytab have no Kerberos encryption type in common.',
  SPN_UNKNOWN: "The Kerberos database does not know the server's service principal.",
  GSS_SERVER_REFUSED:
    'The server could not use the ticket, or could not prove its identity; its keytab may be old or for another name.',
  GSS_MESSAGE_DAMAGED: 'A message of an encrypted GSS session was altered, repeated, reordered, lost or not encrypted.',
  GSS_NOT_OFFERED: 'The server does not offer GSSAPI encryption, which `gssencmode=require` needs.',
  GSS_STUFFED: 'Unencrypted bytes came where only encrypted ones of GSSAPI may: an attack, or a broken server.',
  GSS_FAILED: 'GSSAPI failed in a way that has no code of its own; the message holds its words.',
  // connect and login
  LOGIN_REFUSED: 'The server refused the credential: it is wrong, has expired, or is not allowed to log in.',
  CONNECT_TIMEOUT: 'An attempt to connect hung until its time limit; `phase` says where.',
  CONNECT_FAILED: 'The connection could not be opened; `cause` says why.',
  // dns
  DNS_NOT_FOUND: 'The host name is not known.',
  DNS_FAILED: 'The name server did not answer properly.',
  // connect
  CONNECT_REFUSED: 'Nothing accepts connections at the address.',
  CONNECT_UNREACHABLE: 'There is no route to the address.',
  SOCKET_NOT_FOUND: 'The Unix socket does not exist.',
  CONNECTION_CLOSED: 'The server closed the connection before the session was open.',
  INSTANCE_NOT_FOUND: 'The SQL Server Browser does not know the named instance, or does not answer.',
  ROUTING_REFUSED: 'The server sent the login on to a server that `server_routing` does not allow.',
  NTLM_CHALLENGE_REFUSED: "The server's NTLM challenge is damaged, or asks for LM or NTLMv1.",
  NTLM_REFUSED: 'The GSS library was about to log in by NTLM in place of Kerberos.',
  NOT_SQL_SERVER: 'What answers is not a SQL Server, or its answers are damaged.',
  NOT_POSTGRES: 'What answers is not a PostgreSQL server, or its answers are damaged.',
  // proxy
  PROXY_UNREACHABLE: 'The proxy itself cannot be reached: its name is unknown, or nothing accepts connections there.',
  PROXY_TLS_FAILED: 'There is no trusted TLS connection to the proxy (`proxy=https://...`); `cause` says why.',
  PROXY_CLOSED: 'The proxy closed the connection before it answered.',
  PROXY_PROTOCOL: 'What answers is not a proxy of this kind, or its answer is damaged or too long.',
  PROXY_AUTH_REQUIRED: 'The proxy asks for a login, and `proxy_auth` gives none.',
  PROXY_AUTH_UNSUPPORTED: 'The proxy does not offer the login method that `proxy_auth` names.',
  PROXY_AUTH_REFUSED: 'The proxy refused our login.',
  PROXY_MUTUAL_AUTH_MISSING: 'The proxy did not prove itself, and `proxy_kerberos_mutual_auth=REQUIRED`.',
  PROXY_NOT_GENUINE: 'The proxy could not prove its identity: it does not have the key of its service.',
  PROXY_FORBIDDEN: 'The proxy does not allow connections to this host and port.',
  PROXY_TARGET_UNREACHABLE: 'The proxy cannot reach the host and port.',
  PROXY_REDIRECT: 'The proxy redirects the request, which is never followed.',
  PROXY_FAILED: 'The proxy opened no tunnel, for another reason, which the message names.',
  // tls
  TLS_NOT_OFFERED: 'The server does not offer TLS, which this connection needs.',
  TLS_NEEDED: 'This login needs TLS, which `sslmode` or `encrypt` rules out.',
  TLS_UNTRUSTED: "The server's certificate is not signed by a trusted authority.",
  TLS_CERTIFICATE_EXPIRED: "The server's certificate has expired.",
  TLS_CERTIFICATE_NOT_YET_VALID: "The server's certificate is not valid yet.",
  TLS_CERTIFICATE_REVOKED: "The server's certificate has been revoked.",
  TLS_CERTIFICATE_OTHER: "The server's certificate is not the one that `server_certificate` allows.",
  TLS_CERTIFICATE_UNSUITABLE: "The server's certificate is not for servers, or breaks a rule that the message names.",
  TLS_HOSTNAME_MISMATCH: "The server's certificate was not issued for the host.",
  TLS_CLIENT_CERTIFICATE_UNUSED:
    'Under `sslcertmode=require`: the server did not ask for a client certificate, or there was none to send.',
  TLS_CLIENT_CERTIFICATE_REFUSED: 'The server did not accept our client certificate, or required one and got none.',
  TLS_VERSION: 'Client and server have no version of TLS in common.',
  TLS_ALPN: 'The server did not agree to speak the protocol of the database inside TLS.',
  TLS_STUFFED: 'Unencrypted bytes came where only encrypted ones may: an attack, or a broken server.',
  TLS_HANDSHAKE_FAILED: 'The TLS handshake failed for another reason, which the message names.',
  TLS_SETUP_FAILED: 'The certificate files were read, but OpenSSL cannot use them.',
  CRL_UNUSABLE: 'The revocation list has expired or does not cover every authority of the chain.',
  NEGOTIATION_FAILED:
    'The server sent an error in the middle of the negotiation of encryption; its text is not shown, since nothing proves its origin.',
  // login
  LOGIN_NOT_ADMITTED: 'No rule of the server (pg_hba.conf) allows this user to log in this way.',
  LOGIN_ROLE_UNUSABLE: 'The role does not exist or may not log in.',
  LOGIN_PASSWORD_CHANGE: 'The password has expired or must be changed before the login can be used.',
  TOKEN_AUDIENCE: 'The access token is for another audience or tenant than the server accepts.',
  DATABASE_NOT_FOUND: 'The database does not exist.',
  DATABASE_NOT_PERMITTED: 'The role may not connect to the database.',
  SERVER_FULL: 'The server has no connection left.',
  REDIRECTED_TOO_OFTEN: 'SQL Servers kept sending the login on to one another.',
  SERVER_THROTTLED: 'The server asks to come back later: it is busy, moving or waking up.',
  SERVER_ROLE_MISMATCH: 'No server has the role that `target_session_attrs` asks for.',
  SERVER_NOT_READY: 'The server is starting, stopping or recovering.',
  SERVER_ERROR: 'The server refused the login for another reason, which the message names.',
  PEER_MISMATCH: 'The server behind the Unix socket does not run as the user that `requirepeer` names.',
  SERVER_NOT_GENUINE: 'The server accepted the login without proving its identity.',
  SETTING_REFUSED:
    'The server or a pooler refuses a setting of `options`, or keeps one under which values cannot be read.',
  AUTH_METHOD_UNSUPPORTED: 'The server asks for a login method that this strategy cannot answer.',
  AUTH_METHOD_REFUSED: 'The server asks for a login method that `require_auth` does not allow.',
  CHANNEL_BINDING_FAILED:
    'The login could not be bound to the TLS session: the server has another one, or cannot bind under `channel_binding=require`.',
  CLEARTEXT_REFUSED: 'The server asks for the password in cleartext over a connection without encryption.',
  PASSWORD_MISSING: 'The server asks for a password, and the record has none.',
  SCRAM_FAILED: 'The server does not follow the rules of SCRAM.',
  PROTOCOL_UNSUPPORTED: 'The server does not speak a version of the PostgreSQL protocol that is allowed.',
  DRIVER_INCOMPATIBLE: 'poolsmith does not work with the installed version of the database driver.',
  // query
  SESSION_INIT_FAILED:
    '`session_init` or the hook `onSession` failed on a new session, which was closed; `cause` says why.',
  SESSION_READ_ONLY: 'An idle session has become read-only, as after a failover; it was closed.',
  CLIENT_RELEASED: 'A statement was given to a client of poolsmith/pg after its release.',
  SESSION_BUSY: 'A returned connection still ran a statement, which could not be stopped.',
  TOO_MANY_BINDINGS: 'A statement has more bindings than the database takes; it was not sent.',
  // pool
  POOL_EXHAUSTED: 'Every connection of the pool was in use for the whole of `pool_timeout`.',
  EVENT_LOOP_STALLED: 'The event loop of this process was blocked for most of `pool_timeout` and could read no answer.',
  POOL_CLOSED: 'The pool is being destroyed or was destroyed.',
  POOL_SUSPENDED: 'The pool stayed suspended for the whole of `pool_timeout`.',
  ABORTED: 'The caller aborted the operation.',
  // query: reading a table
  SCHEMA_NOT_FOUND: 'The database has no schema of this name, or the role cannot see it.',
  TABLE_NOT_FOUND: 'The schema has no table or view of this name; the message names similar ones.',
  COLUMN_NOT_FOUND: 'The table has no column of this name; the message names similar ones.',
  TABLE_CHANGED: 'The table was dropped or altered between the catalogue and the reading of its rows.',
  TABLE_LOCKED: 'Another session kept the table locked for the whole of `lock_timeout`.',
  PERMISSION_DENIED: 'The role may not read the table, or not all of the columns that were asked for.',
  VALUE_OUT_OF_RANGE: 'A value cannot be written exactly in the type that its column has.',
  QUERY_CANCELED: 'Another session or a time limit of the server cancelled the statement.',
  QUERY_FAILED: 'The server refused the statement; the message has its reason and `details.sqlstate` its code.',
  CONNECTION_LOST: 'The session ended while a statement or transaction was running; `cause` holds its last words.',
  TRANSACTION_ROLLED_BACK:
    'A commit did not happen, because the server had rolled the transaction back; `cause` is the error that ended it.',
  WATERMARK_INVALID: 'The watermark column cannot serve as one: NULL in some rows, another type, or no value of it.',
  SNAPSHOT_UNAVAILABLE:
    'The database cannot show one moment of the table to several sessions; the hint says what would.',
  SNAPSHOT_GONE: 'The snapshot that a plan names does not exist any more: the session that held it has ended.',
  PLAN_INVALID: 'The plan of an extract is damaged, of another version, not trusted, or has no such partition.',
  PLAN_OTHER_DATABASE: 'The plan of an extract was made for another database than the one that is connected.',
  EXTRACT_BUSY: 'Another session is extracting the same partition of the same plan.',
  EXTRACT_PROTOCOL: 'The server sent rows in a form that is not understood.',
  // write: the files of an extract
  TARGET_NOT_WRITABLE: 'The target folder cannot be made or written to.',
  TARGET_NOT_TRUSTED:
    'The path to the target folder leads through a link of another user; nothing is written through it.',
  DISK_FULL: "The target's disk, or the quota on it, is full.",
  WRITE_FAILED: 'A file of the extract could not be written.',
  STATE_INVALID: 'The state file of a watermark cannot be read, is damaged, is not trusted, or is of another table.',
  STATE_CONFLICT: 'Another run has replaced the state file meanwhile; the files of this run were removed.',
  EXTRACT_EXISTS: "The day's folder holds an extract of the table already, and `mode` is `error`.",
  EXTRACT_INCOMPLETE:
    'The consumer returned before it had taken every row, or parts of a plan that is to be finished are not complete.',
} as const

/** The `code` of a {@link PoolsmithError}; docs/errors.md has the meaning of each. */
export type ErrorCode = keyof typeof ERROR_CODES

export interface PoolsmithErrorOptions {
  readonly code: ErrorCode
  readonly phase: Phase
  /** The advice, in the imperative. */
  readonly hint?: string
  /** True when the same call may succeed later without any change. Default false. */
  readonly transient?: boolean
  readonly cause?: unknown
  /** Facts for programs and for `--json`: plain values, no secrets. */
  readonly details?: Readonly<Record<string, unknown>>
}

/** Every error that poolsmith raises: `code` says what it is, `phase` where it happened, `hint` what to do about it. */
export class PoolsmithError extends Error {
  override readonly name: string = 'PoolsmithError'
  readonly code: ErrorCode
  readonly phase: Phase
  readonly hint: string | undefined
  readonly transient: boolean
  readonly details: Readonly<Record<string, unknown>>

  constructor(message: string, options: PoolsmithErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = options.code
    this.phase = options.phase
    this.hint = options.hint
    this.transient = options.transient ?? false
    this.details = options.details ?? {}
  }

  /**
   * The same error with other words: what is not named stays, `details` are added to. Its cause stays the original one.
   *
   * @example
   * throw error.with({ message: `No connection within 5 s (pool_timeout): ${error.message}`, details: { limitMillis } })
   */
  with(changes: Partial<PoolsmithErrorOptions> & { readonly message?: string }): PoolsmithError {
    const { message = this.message, details, ...options } = changes
    return new PoolsmithError(message, {
      code: this.code,
      phase: this.phase,
      hint: this.hint,
      transient: this.transient,
      cause: this.cause,
      ...options,
      details: { ...this.details, ...details },
    })
  }

  toJSON(): Record<string, unknown> {
    return {
      name: this.name,
      code: this.code,
      phase: this.phase,
      message: this.message,
      ...(this.hint === undefined ? {} : { hint: this.hint }),
      transient: this.transient,
      ...(Object.keys(this.details).length === 0 ? {} : { details: this.details }),
    }
  }
}

/** One thing that is wrong with a connection record, and where. */
export interface ConfigProblem {
  /** Path from the record's root, as in `extra.sslmode` or `port`. */
  readonly path: string
  readonly message: string
}

/** All that is wrong with a connection record, at once. */
export class ConfigError extends PoolsmithError {
  override readonly name: string = 'ConfigError'
  readonly problems: readonly ConfigProblem[]

  constructor(
    problems: readonly ConfigProblem[],
    options: { readonly subject?: string; readonly hint?: string; readonly cause?: unknown } = {},
  ) {
    const lines = problems.map((problem) =>
      problem.path === '' ? problem.message : `${problem.path}: ${problem.message}`,
    )
    const subject = options.subject ?? 'The connection'
    super(
      problems.length === 1
        ? `${subject} is not valid: ${lines[0]}`
        : `${subject} is not valid (${problems.length} problems):\n${lines.map((line) => `  - ${line}`).join('\n')}`,
      {
        code: 'CONFIG_INVALID',
        phase: 'config',
        details: { problems },
        hint: options.hint ?? 'Put right what is listed; docs/extras.md has every option with its type and default.',
        ...(options.cause === undefined ? {} : { cause: options.cause }),
      },
    )
    this.problems = problems
  }
}
