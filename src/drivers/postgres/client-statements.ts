/**
 * The private parts of `pg.Client` that say which statements run and wait on it, beside those in pg-client.ts, and what
 * its users leave on it.
 */

import type { EventEmitter } from 'node:events'
import type { Duplex } from 'node:stream'
import type pg from 'pg'
import type { Notification } from '../driver.ts'
import { keepListeners } from '../foreign-listeners.ts'

/** Events of a client that its users listen to. */
export const USERS_EVENTS = ['notification', 'notice', 'error'] as const

/** Set on a client whose session listens to a channel. */
const LISTENS = Symbol('listens')

/** `pg.Client`, as lib/client.js has it. */
interface ClientParts {
  [LISTENS]?: boolean
  readonly readyForQuery?: boolean
  readonly _queryQueue: unknown[]
  _getActiveQuery(): unknown
  _pulseQueryQueue(): void
}

const parts = (client: pg.Client): ClientParts => client as unknown as ClientParts

/** The present listeners stay on a client that is returned to the pool; what its users add is removed. */
export function keepPgListeners(client: pg.Client): void {
  keepListeners(client, USERS_EVENTS)
}

/** Has the session listen to a channel. */
export async function listenTo(
  client: pg.Client,
  channel: string,
  handler: (notification: Notification) => void,
): Promise<void> {
  client.on('notification', (message) => {
    if (message.channel !== channel) return
    handler({ channel, payload: message.payload ?? '', processId: message.processId })
  })
  await client.query(`listen "${channel.replaceAll('"', '""')}"`)
}

/** To be called with the tag of each command that the session has executed. */
export function commandEnded(client: pg.Client, tag: string): void {
  if (tag === 'LISTEN') parts(client)[LISTENS] = true
}

/** Whether the session has executed LISTEN since it was opened or reset. */
export function listens(client: pg.Client): boolean {
  return parts(client)[LISTENS] === true
}

/** To be called when the session listens to nothing any more. */
export function forgetListening(client: pg.Client): void {
  parts(client)[LISTENS] = false
}

/** The statement that was asked for last; it runs, or waits in the client's queue. */
export function newestStatement(client: pg.Client): unknown {
  return parts(client)._queryQueue.at(-1) ?? parts(client)._getActiveQuery()
}

/** Removes a statement that waits from the client's queue. False when it does not wait; its promise never settles. */
export function takeBack(client: pg.Client, statement: unknown): boolean {
  const { _queryQueue: queue } = parts(client)
  const index = queue.indexOf(statement)
  if (index >= 0) queue.splice(index, 1)
  return index >= 0
}

/** Does work while the statements that wait in the client's queue are held back. */
export async function heldBack(client: pg.Client, work: () => Promise<void>): Promise<void> {
  const { _queryQueue: queue } = parts(client)
  const held = queue.splice(0)
  try {
    await work()
  } finally {
    queue.unshift(...held)
    parts(client)._pulseQueryQueue()
  }
}

/** Answers a statement that is not sent, in the form in which its result was asked for. */
export function refuse(client: pg.Client, given: readonly unknown[], error: Error): unknown {
  const [first] = given
  const { submit, handleError, callback } = (first ?? {}) as {
    readonly submit?: unknown
    readonly handleError?: (error: Error, connection: unknown) => void
    readonly callback?: unknown
  }
  if (typeof submit === 'function') {
    process.nextTick(() =>
      handleError?.call(first, error, (client as unknown as { readonly connection: unknown }).connection),
    )
    return first
  }
  const answer = [...given, callback].findLast((one) => typeof one === 'function')
  if (answer === undefined) return Promise.reject(error)
  process.nextTick(answer as (error: Error) => void, error)
  return undefined
}

/**
 * Has a listener that waits once for the end of a statement also be called when none will come: the session has ended, or
 * runs nothing. pg-cursor waits so when it is closed, after the loss of the session too, and after an error of which the
 * end was reported before; and with it every stream and the reader of a stream.
 */
export function readyOrEnded<
  Connection extends EventEmitter & { readonly stream: Duplex; readonly client: pg.Client | undefined },
>(connection: Connection): Connection {
  const once = connection.once.bind(connection)
  connection.once = (event, listener) => {
    if (event !== 'readyForQuery') return once(event, listener)
    const done = (): void => {
      connection.off('readyForQuery', done).off('end', done)
      listener()
    }
    const { stream, client } = connection
    if (stream.destroyed || (client && parts(client).readyForQuery === true)) setImmediate(listener)
    else connection.on('readyForQuery', done).on('end', done)
    return connection
  }
  return connection
}
