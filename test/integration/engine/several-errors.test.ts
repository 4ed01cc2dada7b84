/** A statement for which SQL Server sends several errors, as for a constraint that cannot be made. */

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Kysely, sql } from 'kysely'
import { sqlServerDialect } from '../../../src/engine/kysely/index.ts'
import { createEngine } from '../../../src/index.ts'
import { type Middle, startMiddle } from '../../support/middle.ts'
import { type SqlServerDouble, startDouble } from '../../support/sqlserver-double.ts'

const HEADER_BYTES = 8
const ERROR = 0xaa
const OPTIONS = { pool_size: 1, max_overflow: 0 }

const stack = new AsyncDisposableStack()
let double: SqlServerDouble
let middle: Middle

before(async () => {
  double = stack.use(await startDouble())
  middle = stack.use(await startMiddle(double.server.port))
  middle.toClient = (chunk) => [twice(chunk)]
})
after(() => stack.disposeAsync())

/** An answer that begins with an error, with this error twice. */
function twice(answer: Buffer): Buffer {
  if (answer[HEADER_BYTES] !== ERROR) return answer
  const end = HEADER_BYTES + 3 + answer.readUInt16LE(HEADER_BYTES + 1)
  const longer = Buffer.concat([answer.subarray(0, end), answer.subarray(HEADER_BYTES)])
  longer.writeUInt16BE(longer.length, 2)
  return longer
}

const uri = (): string => `mssql://sa:pw@localhost:${middle.port}/master?encrypt=false`

interface Failure extends Error {
  readonly number?: number
  readonly phase?: string
  readonly errors?: readonly unknown[]
}

async function failure(work: PromiseLike<unknown>): Promise<Failure> {
  try {
    await work
  } catch (error) {
    return error as Failure
  }
  return assert.fail('it succeeded')
}

test('through knex and Kysely the first one is told, with all of them as errors', async () => {
  await using db = await createEngine(uri(), OPTIONS)
  const kysely = new Kysely<Record<string, never>>({ dialect: sqlServerDialect(uri(), OPTIONS) })
  try {
    for (const run of [() => db.raw('select * from nowhere'), () => sql`select * from nowhere`.execute(kysely)]) {
      const error = await failure(run())
      assert.ok(error instanceof Error)
      assert.match(JSON.stringify(error), /"number":208/)
      assert.match(error.message, /Invalid object name 'nowhere'/)
      assert.deepEqual([error.number, error.phase, error.errors?.length], [208, 'query', 2])
    }
  } finally {
    await kysely.destroy()
  }
})

test('of session_init the first one is told', async () => {
  await using db = await createEngine(`${uri()}&session_init=select%20*%20from%20nowhere`, OPTIONS)
  assert.match((await failure(db.raw('select 1'))).message, /Invalid object name 'nowhere'/)
})
