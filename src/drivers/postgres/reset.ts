import type pg from 'pg'
import { orAbort } from '../../abort.ts'
import { PoolsmithError } from '../../errors.ts'
import { forgetStatements, isBusy } from './pg-client.ts'

/** How long a statement that is still running on a returned connection may take to end by itself, and then to be stopped. */
const GRACE_MILLIS = 100
const CANCEL_LIMIT_MILLIS = 2000

export interface ResetContext {
  /** Asks the server to end the running statement. */
  readonly cancel: (signal: AbortSignal) => Promise<void>
  /** Makes the settings of the session those of a new one. */
  readonly restoreSettings: () => Promise<void>
}

/**
 * Puts a returned session right.
 *
 * `rollback`: ends an open transaction. `full`: also settings, temporary tables, locks, LISTEN, prepared statements
 * (DISCARD ALL), pg's own memory of them, and the listeners for notifications that its last user left on it.
 * A statement that is still running is cancelled.
 *
 * @throws PoolsmithError SESSION_BUSY when it cannot be stopped; the session must then be closed
 */
export async function resetClient(
  client: pg.Client,
  mode: 'rollback' | 'full',
  { cancel, restoreSettings }: ResetContext,
): Promise<void> {
  if (isBusy(client)) await quiet(client, cancel)
  if (client.getTransactionStatus() !== 'I') await client.query('ROLLBACK')
  if (mode === 'rollback') return
  await client.query('DISCARD ALL')
  await restoreSettings()
  forgetStatements(client)
  client.removeAllListeners('notification')
}

async function quiet(client: pg.Client, cancel: (signal: AbortSignal) => Promise<void>): Promise<void> {
  if (await becomesIdle(client, AbortSignal.timeout(GRACE_MILLIS))) return
  const limit = AbortSignal.timeout(CANCEL_LIMIT_MILLIS)
  let cause: unknown
  try {
    await cancel(limit)
    if (await becomesIdle(client, limit)) return
  } catch (error) {
    cause = error
  }
  throw new PoolsmithError('A statement was still running on a returned connection, and did not stop.', {
    code: 'SESSION_BUSY',
    phase: 'query',
    hint: 'Read a stream to its end or destroy it before the connection goes back to the pool.',
    cause,
  })
}

/** Whether the client runs out of statements before the signal. */
async function becomesIdle(client: pg.Client, signal: AbortSignal): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const look = (): void => {
    if (!isBusy(client)) resolve()
  }
  client.on('drain', look)
  client.on('end', resolve)
  try {
    look()
    await orAbort(promise, signal)
    return !isBusy(client)
  } catch {
    return false
  } finally {
    client.off('drain', look)
    client.off('end', resolve)
  }
}
