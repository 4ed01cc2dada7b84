import type pg from 'pg'

type Cancel = (signal: AbortSignal) => Promise<void>

const cancels = new WeakMap<pg.Client, Cancel>()

/** Remembers how a session is cancelled, for code that has its client alone. */
export function rememberCancel(client: pg.Client, cancel: Cancel): void {
  cancels.set(client, cancel)
}

/**
 * Cancels the statement that a client runs. The request takes the way of the session, with the key that the server or a
 * pooler gave at the login. Behind a pooler the process id of a session is the pooler's invention, on which
 * pg_cancel_backend would have no effect, or one on another session.
 *
 * @returns false for a client that was not opened by this driver
 * @throws PoolsmithError when the request cannot be sent; the signal's reason
 */
export async function cancelClient(client: pg.Client, signal: AbortSignal): Promise<boolean> {
  const cancel = cancels.get(client)
  await cancel?.(signal)
  return cancel !== undefined
}
