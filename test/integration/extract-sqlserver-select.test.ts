/** Selecting, marks, hashes, parts and plans over the TDS server test double; what only a double can do is here too. */

import assert from 'node:assert/strict'
import { after, before } from 'node:test'
import { createEngine, type Engine } from '../../src/index.ts'
import type { PoolOptions } from '../../src/pool/options.ts'
import { createPki } from '../support/pki.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { sqlServerExtractSuite } from '../support/sqlserver-extract-suite.ts'
import { startTdsServer, type TdsServer } from '../support/tds/server.ts'

let postgres: PostgresServer
let server: TdsServer

before(async () => {
  postgres = await startPostgres()
  const tls = await (await createPki()).issue({ commonName: 'localhost', dns: ['localhost'] })
  server = await startTdsServer({ postgres, logins: { sa: 'pw' }, tls })
})

after(async () => {
  const { complaints } = server
  await server[Symbol.asyncDispose]()
  await postgres[Symbol.asyncDispose]()
  assert.deepEqual(complaints, [])
})

const open = (options: PoolOptions = {}): Promise<Engine> =>
  createEngine(
    {
      type: 'mssql',
      host: 'localhost',
      port: server.port,
      login: 'sa',
      password: 'pw',
      database: 'master',
      extra: { trust_server_certificate: true },
    },
    options,
  )

sqlServerExtractSuite({ name: 'test double', open })
