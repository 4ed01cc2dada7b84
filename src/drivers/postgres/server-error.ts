import { asError } from '../../any-error.ts'
import type { Credential } from '../../credentials/credential.ts'
import { withoutSent } from '../../credentials/without-sent.ts'
import { PoolsmithError } from '../../errors.ts'
import { printable } from '../../printable.ts'
import { type Advice, CERTIFICATE_HINT } from './advice.ts'
import { NotPostgres } from './messages.ts'
import { poolerAdvice } from './pooler-words.ts'

const SQLSTATE_LENGTH = 5

/** An ErrorResponse during the login. */
export class ServerRefusal extends Error {
  override readonly name = 'ServerRefusal'
  /** By their letters: C is the SQLSTATE, M the message, D the detail, H the hint, R the server's routine. */
  readonly fields: Readonly<Record<string, string>>
  /** Whether the server had already accepted the proof of identity. */
  readonly authenticated: boolean

  /** The meaning of the error, where the state of the login says more than the error itself. */
  readonly advice: Advice | undefined

  constructor(fields: Readonly<Record<string, string>>, when: 'at-login' | 'authenticated', advice?: Advice) {
    super(fields.M ?? 'no message')
    this.fields = fields
    this.advice = advice
    this.authenticated = when === 'authenticated'
  }
}

/** The methods that the server names in its error. Their names stand in every translation. */
const BY_METHOD: readonly (readonly [method: RegExp, hint: string])[] = [
  [/^certificate authentication failed\b/, CERTIFICATE_HINT],
  [
    /\bPAM\b/,
    'Check the user and the password: PAM on the server refuses them, or the account is locked or expired. The log of PAM there (auth.log, journalctl) says which.',
  ],
  [
    /\bLDAP\b/,
    "Check the user and the password in the directory, and that the server reaches it: the server's log says which step failed.",
  ],
  [
    /\bRADIUS\b/,
    "Check the user and the password (or one-time password) at the RADIUS server; the server's log says more.",
  ],
  [
    /\bIdent\b/i,
    'Ident asks this machine for its user, by a program on port 113 that is missing, or that names another user: map that user in pg_ident.conf, or have pg_hba.conf ask for another proof.',
  ],
  [/\bPeer\b/i, 'The server takes the user of the operating system: run as that user, or map it in pg_ident.conf.'],
]

function hintByMethod(message: string): string | undefined {
  return BY_METHOD.find(([method]) => method.test(message.replace(/"[^"]*"/g, '""')))?.[1]
}

/** During the login: a word in `options` that is no setting, an unknown setting, a wrong value. */
const REFUSED_SETTING = new Set(['42601', '42704', '22023'])

/** The meaning of an error during the login, by its SQLSTATE ("PostgreSQL Error Codes"). */
function adviceFor({ fields, advice }: ServerRefusal): Advice {
  const state = fields.C ?? ''
  const poolers = poolerAdvice(fields)
  if (poolers !== undefined) return poolers
  if (advice !== undefined && (state === '28P01' || state === '28000')) return advice
  // The message is in the language of the server; the name of the routine is not translated.
  if (state === '28000' && fields.R === 'ClientAuthentication') {
    // All other messages of this routine contain the name of the file in every translation.
    if (fields.M !== undefined && !fields.M.includes('pg_hba.conf')) {
      return {
        code: 'TLS_CLIENT_CERTIFICATE_REFUSED',
        hint: 'The matching line of pg_hba.conf asks for a client certificate, and none was sent. Set sslcert and sslkey, or use auth_method=ssl_cert.',
      }
    }
    // In every translation the refusal by a line begins with the name of the file.
    if (fields.M?.startsWith('pg_hba.conf') === true) {
      return {
        code: 'LOGIN_NOT_ADMITTED',
        hint: 'The first line of pg_hba.conf that fits this user, address and database says reject: put a line that admits them before it.',
      }
    }
    return {
      code: 'LOGIN_NOT_ADMITTED',
      hint: 'No line of pg_hba.conf admits this user from this address to this database. Compare its lines with sslmode and gssencmode.',
    }
  }
  if (state === '28000' && fields.R === 'InitializeSessionUserId') {
    return {
      code: 'LOGIN_ROLE_UNUSABLE',
      hint: 'Check the user name. The role must exist and have the attribute LOGIN.',
    }
  }
  if (state === '28P01' || state === '28000') {
    const hint = hintByMethod(fields.M ?? '')
    if (hint !== undefined) return { code: 'LOGIN_REFUSED', hint }
    return {
      code: 'LOGIN_REFUSED',
      hint: 'Check the user and the password, token or certificate. pg_hba.conf says which of them the server asks for.',
    }
  }
  if (state === '3D000') {
    return { code: 'DATABASE_NOT_FOUND', hint: 'Check the name of the database, which is case-sensitive.' }
  }
  if (state === '55000' && fields.R === 'CheckMyDatabase') {
    return {
      code: 'DATABASE_NOT_PERMITTED',
      hint: 'The database accepts no connections: ALTER DATABASE … ALLOW_CONNECTIONS true, if it is not a template and not one whose DROP was interrupted.',
    }
  }
  if (REFUSED_SETTING.has(state) || (state === '42501' && fields.R?.startsWith('set_config') === true)) {
    return {
      code: 'SETTING_REFUSED',
      hint: 'Check the name and the value of each setting in `options`, and that this role may set it.',
    }
  }
  if (state === '42501') {
    return { code: 'DATABASE_NOT_PERMITTED', hint: 'GRANT CONNECT ON DATABASE … TO … for this role.' }
  }
  if (state === '53300') {
    return {
      code: 'SERVER_FULL',
      transient: true,
      hint: 'Lower pool_size and max_overflow of the clients, or raise max_connections (or the limit of the role).',
    }
  }
  if (state === '57P03') {
    return { code: 'SERVER_NOT_READY', transient: true, hint: 'Wait: the server is starting, stopping or recovering.' }
  }
  if (state === '') {
    return {
      code: 'SERVER_ERROR',
      transient: true,
      hint: 'Check the memory and the process limit of the server, which could not start a process for the session; see its log.',
    }
  }
  return {
    code: 'SERVER_ERROR',
    transient: state.startsWith('53') || state.startsWith('57P'),
    hint: "See the server's log.",
  }
}

/** @param credential the one that the server was sent, which its words must not repeat */
export function refusalError(refusal: ServerRefusal, credential: Credential): PoolsmithError {
  const { code, hint, transient = false } = adviceFor(refusal)
  const fields = Object.entries(refusal.fields).map(([key, value]) => [key, withoutSent(value, credential)])
  const { M: text = '', C: sqlstate, D: detail, H: serverHint } = Object.fromEntries(fields) as ServerRefusal['fields']
  const why = detail === undefined ? '' : ` (${printable(detail, 200)})`
  return new PoolsmithError(`The server refused the login: ${printable(text) || 'it gives no reason'}${why}`, {
    code,
    phase: 'login',
    hint: serverHint === undefined ? hint : `${printable(serverHint)} (${hint})`,
    transient,
    details: {
      sqlstate: sqlstate === undefined ? undefined : printable(sqlstate, SQLSTATE_LENGTH),
      ...(detail === undefined ? {} : { detail: printable(detail) }),
    },
  })
}

/** SQLSTATEs that end a session. The severity alone does not tell, since it is translated. */
const ENDS_SESSION = new Set([
  '08003', // connection does not exist
  '08006', // connection failure
  '08P01', // protocol violation
  '25P03', // idle in transaction for too long
  '25P04', // transaction took too long
  '57P01', // administrator's command
  '57P02', // crash of the server
  '57P03', // cannot connect now
  '57P04', // database dropped
  '57P05', // idle for too long
])

/** The routine of the server that counts the values of a statement: a mistake of the program, and the session goes on. */
const COUNTS_VALUES = 'exec_bind_message'

/** Whether an error on an open session ends it. */
export function endsSession({
  code,
  severity,
  routine,
}: {
  readonly code?: string | undefined
  readonly severity?: string | undefined
  /** The server's; a pooler names none. */
  readonly routine?: string | undefined
}): boolean {
  if (code === undefined || severity === 'FATAL' || severity === 'PANIC') return true
  return ENDS_SESSION.has(code) && routine !== COUNTS_VALUES
}

/** The error of an open session. */
export function sessionError(error: unknown, peer: string): Error {
  if (error instanceof NotPostgres) return damagedAnswer(error, peer)
  return asError(error)
}

export function damagedAnswer(cause: NotPostgres, peer: string): PoolsmithError {
  return new PoolsmithError(`The server ${peer} sent a damaged answer: ${printable(cause.message)}.`, {
    code: 'NOT_POSTGRES',
    phase: 'query',
    hint: 'Check the pooler or proxy between this machine and the server, and its version.',
    cause,
  })
}
