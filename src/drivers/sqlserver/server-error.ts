import type { Credential } from '../../credentials/credential.ts'
import { withoutSent } from '../../credentials/without-sent.ts'
import { type ErrorCode, PoolsmithError } from '../../errors.ts'
import { printable } from '../../printable.ts'
import { claimsOf } from './token-claims.ts'

/** An ERROR token (MS-TDS 2.2.7.10). */
export interface ServerError {
  readonly number: number
  readonly state: number
  readonly class: number
  readonly message: string
}

interface Advice {
  readonly code: ErrorCode
  readonly hint: string
  readonly transient?: boolean
}

const LOGIN_FAILED = 18_456

interface State {
  readonly meaning: string
  /** Where it is not simply a refused login. */
  readonly code?: ErrorCode
  readonly transient?: boolean
}

const NO_LOGIN: State = { meaning: 'There is no such login.' }
const NO_ACCESS: State = { meaning: 'The account is known but may not connect to this server.' }
const NO_DATABASE: State = {
  meaning: 'The database does not exist, or the login may not use it.',
  code: 'DATABASE_NOT_FOUND',
}
const ENTRA: State = { meaning: 'The Entra login failed.' }
const EMPTY: State = { meaning: 'The user name or the password is empty.' }

/**
 * The states of error 18456 (Microsoft Learn, "MSSQLSERVER_18456"); most servers tell clients 1 and write the
 * true one into their log.
 */
const LOGIN_STATES: Readonly<Record<number, State>> = {
  2: NO_LOGIN,
  5: NO_LOGIN,
  6: { meaning: 'A Windows account was used with a password; use Kerberos for it.' },
  7: { meaning: 'The login is disabled, and the password is wrong.' },
  8: { meaning: 'The password is wrong.' },
  9: { meaning: 'The password is not valid.' },
  11: NO_ACCESS,
  12: NO_ACCESS,
  13: { meaning: 'The service is paused.', code: 'SERVER_NOT_READY', transient: true },
  18: { meaning: 'The password must be changed.', code: 'LOGIN_PASSWORD_CHANGE' },
  23: { meaning: 'The server is shutting down.', code: 'SERVER_NOT_READY', transient: true },
  38: NO_DATABASE,
  40: { ...NO_DATABASE, meaning: 'The default database of the login does not exist, or the login may not use it.' },
  46: NO_DATABASE,
  58: { meaning: 'The server takes Windows and Entra logins only.' },
  ...Object.fromEntries([102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 132, 133].map((state) => [state, ENTRA])),
  ...Object.fromEntries([122, 123, 124].map((state) => [state, EMPTY])),
  126: NO_DATABASE,
}

/** Of those that follow, the database is on its way to another server. */
const MOVING: readonly number[] = [40_197, 40_613, 40_020, 40_143, 40_166, 40_540, 4221]

/**
 * Azure SQL is busy, moving or waking up; the same login succeeds a little later (Microsoft Learn, "Transient faults", and
 * SqlClient's list).
 */
const THROTTLED = new Set([10_928, 10_929, 40_501, 42_109, 49_918, 49_919, 49_920, ...MOVING])

function adviceFor(error: ServerError, credential: Credential): Advice {
  switch (error.number) {
    case LOGIN_FAILED:
      return loginFailed(error, credential)
    case 18_487:
    case 18_488:
    case 18_463:
    case 18_464:
    case 18_465:
    case 18_466:
    case 18_467:
    case 18_468:
      return {
        code: 'LOGIN_PASSWORD_CHANGE',
        hint: 'Change it: ALTER LOGIN … WITH PASSWORD = …, by the login itself in another client, or by an administrator.',
      }
    case 18_486:
      return { code: 'LOGIN_ROLE_UNUSABLE', hint: 'The login is locked: ALTER LOGIN … WITH PASSWORD = … UNLOCK.' }
    case 18_470:
      return { code: 'LOGIN_ROLE_UNUSABLE', hint: 'The login is disabled: ALTER LOGIN … ENABLE.' }
    case 18_452:
      if (credential.kind === 'ntlm') {
        return {
          code: 'LOGIN_REFUSED',
          hint: 'Check domain, login and password, the clock of this machine, and that the server takes NTLM at all.',
        }
      }
      return {
        code: 'GSS_SERVER_REFUSED',
        hint:
          'The server could not use the ticket: check that the SPN belongs to the account under which it runs ' +
          '(setspn -L), that our realm is one that its domain trusts, and that Extended Protection is not Required there.',
      }
    // Babelfish says 911, which SQL Server says to USE.
    case 911:
    case 4060:
      return {
        code: 'DATABASE_NOT_FOUND',
        hint: 'Check the name of the database, and that the login is a user of it; the server tells both alike.',
      }
    case 916:
      return { code: 'DATABASE_NOT_PERMITTED', hint: 'CREATE USER … FOR LOGIN … in this database.' }
    case 954:
      return {
        code: 'SERVER_NOT_READY',
        transient: true,
        hint: 'This server has the mirror of the database: connect to its partner, or name it in failover_partner.',
      }
    case 952:
    case 955:
    case 956:
    case 976:
    case 983:
    case 988:
      return {
        code: 'SERVER_NOT_READY',
        transient: true,
        hint:
          'This replica does not serve the database now: connect to the listener of the availability group, with ' +
          'multi_subnet_failover=true, or list its hosts, or wait for the failover to end.',
      }
    case 978:
      return {
        code: 'DATABASE_NOT_PERMITTED',
        hint: 'This replica is for readers: set application_intent=ReadOnly, or connect to the primary.',
      }
    case 979:
      return {
        code: 'DATABASE_NOT_PERMITTED',
        hint: 'This replica takes no readers: leave application_intent at ReadWrite, or connect to a secondary.',
      }
    case 17_892:
      return {
        code: 'LOGIN_NOT_ADMITTED',
        hint: "A logon trigger of the server refuses it; the server's log says why.",
      }
    case 18_451:
    case 18_461:
      return {
        code: 'SERVER_NOT_READY',
        transient: true,
        hint: 'The server is kept for an administrator; wait for the end of the maintenance.',
      }
    case 40_532:
      return {
        code: 'LOGIN_REFUSED',
        hint: 'Azure knows no such server: check the host; behind an alias the login must be written login@server.',
      }
    case 40_607:
      return {
        code: 'AUTH_METHOD_UNSUPPORTED',
        hint: 'Azure SQL Database takes no tickets: use auth_method=azure_ad, whose azure_credential=integrated begins with one.',
      }
    case 40_615:
    case 40_914:
      return { code: 'LOGIN_NOT_ADMITTED', hint: "Let this machine's address through the firewall of the server." }
    case 47_073:
      return {
        code: 'LOGIN_NOT_ADMITTED',
        hint: 'The server denies access from the public network: connect by its private endpoint from inside the network, or allow public access for it.',
      }
    case 40_613:
      return {
        code: 'SERVER_THROTTLED',
        transient: true,
        hint: 'The database is moving, or was paused (serverless) and wakes up with this login, which takes about a minute. poolsmith tries again within pool_timeout: set it to 90 or more.',
      }
    case 17_809:
    // No thread, no memory or no time for the login.
    case 17_189:
    case 17_197:
    case 17_803:
    case 10_936:
      return { code: 'SERVER_FULL', transient: true, hint: 'Lower pool_size and max_overflow of the clients.' }
    case 42_108:
      return { code: 'SERVER_NOT_READY', transient: true, hint: 'The SQL pool of Azure Synapse is paused: resume it.' }
    case 17_142:
    case 17_187:
    case 17_188:
    case 6005:
    case 18_401:
    case 904:
    case 921:
    case 922:
    case 924:
    case 927:
      return { code: 'SERVER_NOT_READY', transient: true, hint: 'The server starts up, shuts down or recovers; wait.' }
    default:
      if (isThrottled(error.number)) {
        return {
          code: 'SERVER_THROTTLED',
          transient: true,
          hint: 'Azure SQL asks to come back later; if it stays so, raise the service tier or open fewer connections.',
        }
      }
      return { code: 'SERVER_ERROR', hint: "See the server's log." }
  }
}

function loginFailed(error: ServerError, credential: Credential): Advice {
  const state = LOGIN_STATES[error.state]
  const told = (hint: string): Advice => ({
    code: state?.code ?? 'LOGIN_REFUSED',
    hint: state === undefined || state === ENTRA ? hint : `${state.meaning} ${hint}`,
    ...(state?.transient === true ? { transient: true } : {}),
  })
  if (credential.kind === 'token') {
    const claims = claimsOf(credential.token.reveal())
    if (/expired/i.test(error.message)) {
      return { code: 'LOGIN_REFUSED', hint: 'The token has expired; check the clock of this machine.' }
    }
    if (/not currently configured to accept this token/i.test(error.message)) {
      return {
        code: 'TOKEN_AUDIENCE',
        hint:
          `The token is for ${claims.audience ?? 'an unknown audience'}; Azure SQL takes ` +
          'https://database.windows.net/. Check scope and cloud, and that the tenant is the one of the server.',
      }
    }
    return told('The token was read; CREATE USER [name] FROM EXTERNAL PROVIDER must have made this identity a user.')
  }
  if (credential.kind === 'gss') {
    const unknown = state === undefined ? 'The ticket was read, but its principal is no login here: ' : ''
    return told(`${unknown}CREATE LOGIN [DOMAIN\\name] FROM WINDOWS.`)
  }
  const check = state === undefined ? 'Check login and password. ' : ''
  return told(`${check}The server's log (ERRORLOG) holds the true state of error 18456.`)
}

/** The error that the server gave as the reason for refusing a login; it may add 18456 to a more telling one. */
export function refusalError(errors: readonly ServerError[], credential: Credential): PoolsmithError | undefined {
  const error = errors.find((candidate) => candidate.number !== LOGIN_FAILED) ?? errors[0]
  if (error === undefined) return undefined
  const { code, hint, transient = false } = adviceFor(error, credential)
  return new PoolsmithError(
    `The server refused the login: ${printable(withoutSent(error.message, credential))} (error ${error.number}, state ${error.state})`,
    {
      code,
      phase: 'login',
      hint,
      transient,
      details: { number: error.number, state: error.state, class: error.class },
    },
  )
}

/** Errors of this severity end the session (Transact-SQL, "Database Engine error severities"). */
const ENDS_SESSION_CLASS = 20

/** Whether an error that the server sent on a standing session ends it. */
export function endsSession(error: Pick<ServerError, 'number' | 'class'>): boolean {
  return error.class >= ENDS_SESSION_CLASS
}

/** Whether Azure SQL is moving the database. */
export function isMoving(number: number): boolean {
  return MOVING.includes(number)
}

/** The server is no longer, or not yet, the one that serves a database of a mirror or an availability group. */
const NOT_SERVED = new Set([952, 954, 955, 956, 976, 983, 988])

/** Whether an error on an open session shows that the database has gone to another server. */
export function outdatesSession({ number }: Pick<ServerError, 'number'>): boolean {
  return NOT_SERVED.has(number) || isMoving(number)
}

/** Failed to update the database, because it is read-only: as after a failover, or one that is always so. */
const READ_ONLY_DATABASE = 3906

export function isReadOnlyRefusal({ number }: Pick<ServerError, 'number'>): boolean {
  return number === READ_ONLY_DATABASE
}

/** Whether Azure SQL asks to come back later. */
export function isThrottled(number: number): boolean {
  return THROTTLED.has(number)
}
