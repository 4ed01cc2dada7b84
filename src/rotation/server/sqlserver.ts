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

/** sys.messages: 15113 to 15120 are the password policy, 15151 and 15247 a missing right or another old password. */
function refusalOf(error: unknown): ChangeRefusal | undefined {
  const number = numberOf(error) ?? 0
  if (number >= 15_113 && number <= 15_128) return 'password'
  return number === 15_151 || number === 15_247 ? 'rights' : undefined
}
