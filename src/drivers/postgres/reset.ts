import type pg from 'pg'
import { orAbort } from '../../abort.ts'
import { PoolsmithError } from '../../errors.ts'
import { LimitedSignal } from '../../limited-signal.ts'
import { forgetListening, listens } from './client-statements.ts'
import { forgetStatements, isBusy } from './pg-client.ts'

/** The time that a statement on a returned connection has to end by itself. */
const GRACE_MILLIS = 100
/** The time that it then has to end after a cancel request. */
const CANCEL_LIMIT_MILLIS = 2000

export interface ResetContext {
  /** Asks the server to end the running statement. */
  readonly cancel: (signal: AbortSignal) => Promise<void>
  /** Sets what a new session of this driver has set. */
  readonly restoreSettings: () => Promise<void>
}

/**
 * Cleans up a returned session.
 *
 * `rollback`: ends an open transaction and LISTEN. `full`: also resets settings and drops temporary tables, locks and
 * prepared statements (DISCARD ALL), and pg's own list of them. A statement that is still running is cancelled.
 *
 * @throws PoolsmithError SESSION_BUSY when the statement does not end; the session must then be closed
 */
export async function resetClient(
  client: pg.Client,
  mode: 'rollback' | 'full',
  { cancel, restoreSettings }: ResetContext,
): Promise<void> {
  if (isBusy(client)) await quiet(client, cancel)
  if (client.getTransactionStatus() !== 'I') await client.query('ROLLBACK')
  if (mode === 'rollback') {
    if (listens(client)) await client.query('UNLISTEN *')
    forgetListening(client)
    return
  }
  await client.query('DISCARD ALL')
  await restoreSettings()
  forgetStatements(client)
  forgetListening(client)
}

async function quiet(client: pg.Client, cancel: (signal: AbortSignal) => Promise<void>): Promise<void> {
  if (await becomesIdle(client, AbortSignal.timeout(GRACE_MILLIS))) return
  using limit = new LimitedSignal(undefined, CANCEL_LIMIT_MILLIS)
  let cause: unknown
  try {
    await cancel(limit.signal)
    if (await becomesIdle(client, limit.signal)) return
  } catch (error) {
    cause = error
  }
  throw busyError(cause)
}

function busyError(cause: unknown): PoolsmithError {
  return new PoolsmithError('A statement was still running on a returned connection and did not end.', {
    code: 'SESSION_BUSY',
    phase: 'query',
    hint: 'Read a stream to its end or destroy it before the connection goes back to the pool.',
    cause,
  })
}

/**
 * Ends all statements that run or are queued on a client.
 *
 * @throws PoolsmithError SESSION_BUSY when they do not end before the signal
 */
export async function interruptClient(
  client: pg.Client,
  cancel: (signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  // A cancel request ends one statement; those that are queued behind it follow.
  while (isBusy(client)) {
    await cancel(signal)
    if (await becomesIdle(client, AbortSignal.any([signal, AbortSignal.timeout(GRACE_MILLIS)]))) return
    if (signal.aborted) throw busyError(signal.reason)
  }
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
