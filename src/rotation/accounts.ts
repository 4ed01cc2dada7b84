/** Sessions of one account each, for a rotation: opened for one piece of work, and closed after it. */

import { isError } from '../any-error.ts'
import type { Connection } from '../connections/connection.ts'
import { isHostList } from '../connections/host-list.ts'
import type { ConnectionInput } from '../connections/parse.ts'
import { PoolsmithError } from '../errors.ts'
import type { StoreOptions } from '../stores/options.ts'
import { ChangeRefused } from './server/change.ts'
import type { Account } from './stored-password.ts'

export interface SessionContext {
  readonly stores: StoreOptions
  readonly signal: AbortSignal
}

/** The record with one account in it, in place of references. */
export function recordOf({ extra, ...parts }: Connection, { user, password }: Account): ConnectionInput {
  const { password_from: _from, login_from: _login, ...rest } = extra
  // A password is set on the primary.
  const primary = isHostList(parts.host) ? { target_session_attrs: 'read-write' } : {}
  return { ...parts, login: user, password, extra: { ...rest, ...primary } }
}

/** @throws PoolsmithError of the login; of the work, with what is known about a statement's error */
export async function withSession<T>(
  record: ConnectionInput,
  { stores, signal }: SessionContext,
  work: (session: object) => Promise<T>,
): Promise<T> {
  const { buildPool } = await import('../engine/build-pool.ts')
  const options = { pool_size: 1, max_overflow: 0, pool_min_idle: 0, stores }
  const { pool, parts } = await buildPool(record, options)
  try {
    return await pool.use(
      async (session) => {
        try {
          return await work(session)
        } catch (error) {
          const isOurs = error instanceof PoolsmithError || error instanceof ChangeRefused
          throw isOurs || !isError(error) ? error : parts.statementError(session, error)
        }
      },
      { signal },
    )
  } finally {
    await pool.destroy()
  }
}

/** Whether the server accepts the account. @throws PoolsmithError where the server does not say */
export async function isAccepted(connection: Connection, account: Account, context: SessionContext): Promise<boolean> {
  try {
    await withSession(recordOf(connection, account), context, async () => undefined)
    return true
  } catch (error) {
    if (error instanceof PoolsmithError && error.code === 'LOGIN_REFUSED') return false
    throw error
  }
}
