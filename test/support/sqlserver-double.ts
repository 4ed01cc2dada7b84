/** The TDS server test double over a PostgreSQL of its own. */

import assert from 'node:assert/strict'
import { createEngine, type Engine } from '../../src/index.ts'
import type { PoolOptions } from '../../src/pool/options.ts'
import { createPki } from './pki.ts'
import { type PostgresServer, startPostgres } from './postgres.ts'
import { startTdsServer, type TdsServer } from './tds/server.ts'

/** Disposing it also checks that no client has broken the protocol. */
export interface SqlServerDouble extends AsyncDisposable {
  readonly postgres: PostgresServer
  readonly server: TdsServer
  /** A further server over the same databases. */
  start(): Promise<TdsServer>
  /** @param to by default {@link server} */
  open(options?: PoolOptions, to?: TdsServer): Promise<Engine>
}

export function locationOf({ port }: TdsServer): string {
  return `mssql://sa:pw@localhost:${port}/master?trust_server_certificate=true`
}

export async function startDouble(): Promise<SqlServerDouble> {
  const postgres = await startPostgres()
  const tls = await (await createPki()).issue({ commonName: 'localhost', dns: ['localhost'] })
  const start = (): Promise<TdsServer> => startTdsServer({ postgres, logins: { sa: 'pw' }, tls })
  const server = await start()
  return {
    postgres,
    server,
    start,
    open: (options = {}, to = server) => createEngine(locationOf(to), options),
    [Symbol.asyncDispose]: async () => {
      const { complaints } = server
      await server[Symbol.asyncDispose]()
      await postgres[Symbol.asyncDispose]()
      assert.deepEqual(complaints, [])
    },
  }
}
