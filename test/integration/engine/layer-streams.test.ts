/** Streams of pg, Kysely and mssql over our pools end with an error when their session does, and return it. */

import assert from 'node:assert/strict'
import type { EventEmitter } from 'node:events'
import { createRequire } from 'node:module'
import { after, before, describe, test } from 'node:test'
import { Kysely, sql } from 'kysely'
import type pg from 'pg'
import Cursor from 'pg-cursor'
import QueryStream from 'pg-query-stream'
import { postgresDialect, sqlServerDialect } from '../../../src/engine/kysely/index.ts'
import { createPgPool } from '../../../src/engine/pg/index.ts'
import { type ConnectionInput, createMssqlPool } from '../../../src/index.ts'
import { type Gate, startGate } from '../../support/gate.ts'
import { postgresSide } from '../../support/sides/postgres.ts'
import type { Side } from '../../support/sides/side.ts'
import { sqlServerSide } from '../../support/sides/sqlserver.ts'

/** Reads a few rows, ends the session, and reads on. */
type Read = (record: ConnectionInput, endSession: () => Promise<void> | void) => Promise<void>

const OPTIONS = { pool_size: 1, max_overflow: 0, pool_timeout: 5, drain_timeout: 30 }
const MANY = 'select n from generate_series(1, 1000000) as s(n)'

async function readOn(rows: AsyncIterable<unknown>, endSession: () => Promise<void> | void): Promise<void> {
  let count = 0
  for await (const _ of rows) if (++count === 20) await endSession()
}

async function withClient(record: ConnectionInput, use: (client: pg.PoolClient) => Promise<void>): Promise<void> {
  await using pool = await createPgPool(record, OPTIONS)
  const client = await pool.connect()
  // As a program has it that does not want the process to end with an idle client.
  client.on('error', () => undefined)
  try {
    await use(client)
  } finally {
    client.release()
  }
}

async function withKysely(
  dialect: ConstructorParameters<typeof Kysely>[0]['dialect'],
  endSession: () => Promise<void> | void,
) {
  const db = new Kysely<object>({ dialect })
  try {
    const rows = db
      .selectFrom(sql<{ n: number }>`generate_series(1, 1000000)`.as('n'))
      .select(sql`n`.as('n'))
      .stream(10)
    await readOn(rows, endSession)
  } finally {
    await db.destroy()
  }
}

const POSTGRES: Readonly<Record<string, Read>> = {
  'a QueryStream of pg': (record, endSession) =>
    withClient(record, (client) => readOn(client.query(new QueryStream(MANY, [], { batchSize: 10 })), endSession)),
  'a Cursor of pg': (record, endSession) =>
    withClient(record, async (client) => {
      const cursor = client.query(new Cursor(MANY))
      try {
        await cursor.read(20)
        await endSession()
        while ((await cursor.read(1000)).length > 0);
      } finally {
        await cursor.close()
      }
    }),
  'a stream of Kysely': (record, endSession) =>
    withKysely(postgresDialect(record, OPTIONS, { cursor: Cursor }), endSession),
}

interface MssqlRequest extends EventEmitter {
  stream: boolean
  query(text: string): void
}

const mssql = createRequire(import.meta.url)('mssql') as { readonly Request: new (parent: object) => MssqlRequest }

const SQL_SERVER: Readonly<Record<string, Read>> = {
  'a stream of mssql': async (record, endSession) => {
    await using pool = await createMssqlPool(record, OPTIONS)
    const request = new mssql.Request(pool)
    request.stream = true
    let count = 0
    const ended = new Promise<void>((resolve, reject) => {
      request.on('error', reject)
      request.on('done', resolve)
      request.on('row', () => {
        if (++count === 20) void Promise.resolve(endSession()).catch(reject)
      })
    })
    request.query(MANY)
    await ended
  },
  'a stream of Kysely': (record, endSession) => withKysely(sqlServerDialect(record, OPTIONS), endSession),
}

for (const [kind, reads] of [
  [postgresSide, POSTGRES],
  [sqlServerSide, SQL_SERVER],
] as const) {
  describe(kind.name, () => {
    let side: Side
    let gate: Gate

    before(async () => {
      side = await kind.start()
      gate = await startGate(side.connection.port as number)
    })
    after(async () => {
      await gate[Symbol.asyncDispose]()
      await side[Symbol.asyncDispose]()
    })

    const ways: Readonly<Record<string, () => Promise<void> | void>> = {
      'is reset': () => gate.reset(),
      'ends with the server': async () => {
        await side.stop()
        await side.start()
      },
    }
    for (const [what, read] of Object.entries(reads)) {
      for (const [way, endSession] of Object.entries(ways)) {
        test(`${what} ends with an error when its session ${way}`, { timeout: 60_000 }, async () => {
          const record = { ...side.connection, port: gate.port } as ConnectionInput
          await assert.rejects(read(record, endSession), Error)
        })
      }
    }
  })
}
