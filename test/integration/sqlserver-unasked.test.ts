/** Messages of a server that no request has asked for. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, test } from 'node:test'
import { createEngine } from '../../src/index.ts'
import { type Middle, startMiddle } from '../support/middle.ts'
import { type SqlServerDouble, startDouble } from '../support/sqlserver-double.ts'
import { PACKET, packet } from '../support/tds/packets.ts'
import { DONE, doneToken, errorToken } from '../support/tds/tokens.ts'

const stack = new AsyncDisposableStack()
let double: SqlServerDouble
let middle: Middle

before(async () => {
  double = stack.use(await startDouble())
  middle = stack.use(await startMiddle(double.server.port))
})
after(() => stack.disposeAsync())

test('an answer that comes while the session is idle ends it, and every statement gets its own answer', async () => {
  const uri = `mssql://sa:pw@localhost:${middle.port}/master?encrypt=false`
  await using db = await createEngine(uri, { pool_size: 1, max_overflow: 0 })
  assert.deepEqual(await db.raw('select 1 as n'), [{ n: 1 }])
  const closed = Promise.withResolvers<{ readonly cause?: Error }>()
  db.pool.on('connection:closed', closed.resolve)
  middle.inject(packet(PACKET.response, doneToken(DONE.final), true, 1))
  const { cause } = await closed.promise
  assert.match(String(cause?.message), /an answer that no request had asked for/)
  for (const n of [2, 3]) assert.deepEqual(await db.raw(`select ${n} as n`), [{ n }])
})

test('an error that comes while the session is idle is told as the reason of its end', async () => {
  const uri = `mssql://sa:pw@localhost:${middle.port}/master?encrypt=false`
  await using db = await createEngine(uri, { pool_size: 1, max_overflow: 0 })
  await db.raw('select 1 as n')
  const closed = Promise.withResolvers<{ readonly cause?: Error }>()
  db.pool.on('connection:closed', closed.resolve)
  const error = errorToken(
    { number: 33557097, state: 1, class: 20, message: 'Terminated by\u001b[2J an administrator.' },
    'db',
  )
  middle.inject(packet(PACKET.response, Buffer.concat([error, doneToken(DONE.final)]), true, 1))
  const { cause } = await closed.promise
  assert.match(
    String(cause?.message),
    /an error that no request had asked for: Terminated by\P{Cc}+ an administrator\./u,
  )
})

test('an answer that comes between the statements of a transaction ends it', async () => {
  const uri = `mssql://sa:pw@localhost:${middle.port}/master?encrypt=false`
  await using db = await createEngine(uri, { pool_size: 1, max_overflow: 0 })
  await assert.rejects(
    db.transaction(async (trx) => {
      await trx.raw('select 1 as n')
      const connection = await trx.client.acquireConnection()
      middle.inject(packet(PACKET.response, doneToken(DONE.final), true, 1))
      await once(connection, 'end')
      return trx.raw('select 2 as n')
    }),
    { code: 'CONNECTION_LOST' },
  )
  assert.deepEqual(await db.raw('select 3 as n'), [{ n: 3 }])
})
