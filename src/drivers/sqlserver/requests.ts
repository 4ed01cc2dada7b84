/** Small things to ask of a standing session. The state's name is tedious' only word on whether it is busy. */

import type { Request } from 'tedious'
import type { SqlServerConnection } from './tedious-connection.ts'

interface Inside {
  readonly state: { readonly name: string }
  readonly request: (Request & { once(event: 'requestCompleted', listener: () => void): unknown }) | undefined
}

const inside = (connection: SqlServerConnection): Inside => connection as unknown as Inside

export function isReady(connection: SqlServerConnection): boolean {
  return inside(connection).state.name === 'LoggedIn'
}

/** Whether a statement is running, or its answer is still on the way. */
export function isBusy(connection: SqlServerConnection): boolean {
  const { name } = inside(connection).state
  return name === 'SentClientRequest' || name === 'SentAttention'
}

/** Resolves when no statement is running any more, or the session has ended. */
export async function untilIdle(connection: SqlServerConnection): Promise<void> {
  while (isBusy(connection)) {
    const { request } = inside(connection)
    if (request === undefined) return
    await new Promise<void>((resolve) => {
      request.once('requestCompleted', resolve)
      connection.once('end', resolve)
    })
  }
}

/** Runs a batch whose result nobody wants. */
export async function runBatch(connection: SqlServerConnection, sql: string): Promise<void> {
  const { Request: TediousRequest } = await import('tedious')
  await new Promise<void>((resolve, reject) => {
    connection.execSqlBatch(new TediousRequest(sql, (error) => (error ? reject(error) : resolve())))
  })
}

/** Ends the open transaction by a request of the protocol (MS-TDS 2.2.6.9). */
export function rollback(connection: SqlServerConnection): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    connection.rollbackTransaction((error) => (error ? reject(error) : resolve()))
  })
}
