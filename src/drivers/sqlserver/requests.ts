/** Short requests on an open session. tedious says by the name of its state alone whether a statement is running. */

import { onAbort } from '../../abort.ts'
import { setRowMode } from './row-reader.ts'
import { firstError } from './statement-error.ts'
import type { SqlServerConnection } from './tedious-connection.ts'
import { stateOf } from './tedious-internals.ts'

export function isReady(connection: SqlServerConnection): boolean {
  return stateOf(connection).state === 'LoggedIn'
}

/** Whether a statement is running, or its answer is still on the way. */
export function isBusy(connection: SqlServerConnection): boolean {
  const { state } = stateOf(connection)
  return state === 'SentClientRequest' || state === 'SentAttention'
}

/** Resolves when no statement is running any more, the session has ended, or the signal aborts. */
export async function untilIdle(connection: SqlServerConnection, signal?: AbortSignal): Promise<void> {
  while (isBusy(connection) && signal?.aborted !== true) {
    const { request } = stateOf(connection)
    if (request === undefined) return
    const { promise, resolve } = Promise.withResolvers<void>()
    using _ = onAbort(signal, resolve)
    request.once('requestCompleted', resolve)
    connection.once('end', resolve)
    try {
      await promise
    } finally {
      // The connection outlives its requests: listeners that stay would add up.
      request.off('requestCompleted', resolve)
      connection.off('end', resolve)
    }
  }
}

/** Runs a batch whose result is not needed. */
export async function runBatch(connection: SqlServerConnection, sql: string): Promise<void> {
  const { Request: TediousRequest } = await import('tedious')
  await new Promise<void>((resolve, reject) => {
    connection.execSqlBatch(new TediousRequest(sql, (error) => (error ? reject(firstError(error)) : resolve())))
  })
}

/** Runs a batch, and gives the text in its last row; null for NULL, and without a row. */
export async function askText(connection: SqlServerConnection, sql: string): Promise<string | null> {
  const { Request: TediousRequest } = await import('tedious')
  return await new Promise((resolve, reject) => {
    let answer: string | null = null
    const request = new TediousRequest(sql, (error) => (error ? reject(error) : resolve(answer)))
    setRowMode(request, { exact: false, bare: true })
    request.on('row', ([value]: readonly unknown[]) => {
      answer = typeof value === 'string' ? value : null
    })
    connection.execSqlBatch(request)
  })
}

/** Runs SQL that holds a secret: as the value of a parameter, which no trace tells. */
export async function runSecretly(connection: SqlServerConnection, sql: string): Promise<void> {
  const { Request: TediousRequest, TYPES } = await import('tedious')
  await new Promise<void>((resolve, reject) => {
    const request = new TediousRequest('exec (@text)', (error) => (error ? reject(error) : resolve()))
    request.addParameter('text', TYPES.NVarChar, sql)
    connection.execSql(request)
  })
}

/** Ends the open transaction by a request of the protocol (MS-TDS 2.2.6.9). */
export function rollback(connection: SqlServerConnection): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    connection.rollbackTransaction((error) => (error ? reject(error) : resolve()))
  })
}
