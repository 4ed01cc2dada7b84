import { PoolsmithError } from '../../errors.ts'
import { LimitedSignal } from '../../limited-signal.ts'
import { isBusy, rollback, runBatch, untilIdle } from './requests.ts'
import type { SqlServerConnection } from './tedious-connection.ts'

/** How long a statement that is still running on a returned connection may take to end by itself, and then to be stopped. */
const GRACE_MILLIS = 100
const CANCEL_LIMIT_MILLIS = 2000

/**
 * Resets a returned session.
 *
 * `rollback`: ends an open transaction and restores the isolation level. `full`: the reset of the protocol
 * (RESETCONNECTION, MS-TDS 2.2.3.1.2), which also clears settings, temporary tables, cursors and locks. A statement that is
 * still running is cancelled.
 *
 * @throws PoolsmithError SESSION_BUSY when it cannot be stopped; the session must then be closed
 */
export async function resetConnection(connection: SqlServerConnection, mode: 'rollback' | 'full'): Promise<void> {
  if (isBusy(connection)) await quiet(connection)
  // The reset would end the transaction without tedious noticing.
  if (connection.inTransaction) await rollback(connection)
  if (connection.isolationLeft) {
    // In both modes: servers before 2014 keep it over a reset too.
    await runBatch(connection, 'set transaction isolation level read committed')
    connection.isolationLeft = false
  }
  if (mode === 'rollback') return
  await new Promise<void>((resolve, reject) => {
    connection.reset((error) => (error ? reject(error) : resolve()))
  })
}

async function quiet(connection: SqlServerConnection): Promise<void> {
  if (await becomesIdle(connection, GRACE_MILLIS)) return
  connection.cancel()
  if (await becomesIdle(connection, CANCEL_LIMIT_MILLIS)) return
  throw new PoolsmithError('A statement was still running on a returned connection, and did not stop.', {
    code: 'SESSION_BUSY',
    phase: 'query',
    hint: 'Read a stream to its end or destroy it before the connection goes back to the pool.',
  })
}

async function becomesIdle(connection: SqlServerConnection, millis: number): Promise<boolean> {
  using limit = new LimitedSignal(undefined, millis)
  await untilIdle(connection, limit.signal)
  return !isBusy(connection)
}
