import { errorText } from '../../any-error.ts'
import { runBatch, runSecretly } from '../../drivers/sqlserver/requests.ts'
import type { SqlServerConnection } from '../../drivers/sqlserver/tedious-connection.ts'
import { type ChangeRefusal, ChangeRefused, type PasswordChange } from './change.ts'

/** The number of our own error, by RAISERROR and THROW. */
const OWN_ERROR = 50_000

/**
 * Sets the password of a login. With OLD_PASSWORD the server compares and sets in one; the lock and the look into the
 * store keep two administrators apart.
 *
 * @throws ChangeRefused; the error of the statement
 */
export async function changeSqlServerPassword(session: SqlServerConnection, change: PasswordChange): Promise<void> {
  const { user, next, old, assertPending, onRefused } = change
  await lock(session, `poolsmith rotation ${user}`)
  await assertPending()
  const before = old === undefined ? '' : ` OLD_PASSWORD = ${quoted(old.reveal())}`
  const text = `ALTER LOGIN [${user.replaceAll(']', ']]')}] WITH PASSWORD = ${quoted(next.reveal())}${before}`
  await runSecretly(session, text).catch(async (error: unknown) => {
    const reason = refusalOf(error)
    if (reason === undefined) throw error
    await onRefused()
    throw new ChangeRefused(reason, errorText(error), error)
  })
}

/** Until the session ends. */
async function lock(session: SqlServerConnection, resource: string): Promise<void> {
  const call = `exec @taken = sp_getapplock @Resource = ${quoted(resource)}, @LockMode = 'Exclusive', @LockOwner = 'Session', @LockTimeout = 0`
  const batch = `declare @taken int; ${call}; if @taken < 0 throw ${OWN_ERROR}, 'locked', 1`
  await runBatch(session, batch).catch((error: unknown) => {
    if (numberOf(error) !== OWN_ERROR) throw error
    throw new ChangeRefused('running', 'another session holds the lock of this rotation')
  })
}

function quoted(text: string): string {
  return `N'${text.replaceAll("'", "''")}'`
}

function numberOf(error: unknown): number | undefined {
  const number = typeof error === 'object' && error !== null && 'number' in error ? error.number : undefined
  return typeof number === 'number' ? number : undefined
}

/**
 * By error number (Microsoft Learn, "Database Engine events and errors": 15000 to 15999, and 31000 to 41399; those from
 * 40630 on are Azure SQL Database's). 15120 and 15121 are faults of the server while it checks a password: they say
 * nothing about the password, which the next rotation tries again.
 */
const REFUSALS: Readonly<Record<number, ChangeRefusal>> = {
  15113: 'locked',
  15114: 'age',
  // It was used before.
  15115: 'password',
  // Windows' policy: too short, too long, not complex enough, and the filter DLL.
  15116: 'password',
  15117: 'password',
  15118: 'password',
  15119: 'password',
  // More than 128 characters.
  15156: 'password',
  // The login does not exist, OLD_PASSWORD is wrong, or the right is missing.
  15151: 'rights',
  15247: 'rights',
  // SQL Server's own policy, as on Linux: too short, too long, not complex enough.
  33062: 'password',
  33063: 'password',
  33064: 'password',
  40630: 'password',
  40631: 'password',
  40632: 'password',
}

function refusalOf(error: unknown): ChangeRefusal | undefined {
  return REFUSALS[numberOf(error) ?? 0]
}
