import type pg from 'pg'
import type { ConnectionPool } from '../../pool/pool.ts'

/** Kysely's words to end a statement or a session of another connection. */
const CONTROL = /^select pg_(cancel|terminate)_backend\((\d+)\)$/

/**
 * A class in place of `pg.Client`, which Kysely makes to end a statement whose signal has aborted. The statement is ended
 * by the protocol's cancel request over a connection like the session's own, with its login and encryption. A process id
 * in SQL would be another session's behind a pooler, and the login would go past every strategy.
 */
export function controlClient(pool: () => Promise<ConnectionPool<pg.Client> | undefined>): new () => object {
  return class ControlClient {
    async connect(): Promise<void> {
      // Nothing is opened before it is known what is to be ended.
    }

    async query(text: string): Promise<void> {
      const [, action, processId] = CONTROL.exec(text) ?? []
      if (processId === undefined) throw new Error(`Kysely has a request that poolsmith does not know: ${text}`)
      const connections = await pool()
      if (action === 'cancel') await connections?.cancel(Number(processId))
      else await connections?.kill(Number(processId))
    }

    async end(): Promise<void> {
      // As connect.
    }
  }
}
