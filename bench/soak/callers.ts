/** The callers of the soak: their calls, and their judgement of errors. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Knex } from 'knex'
import type pg from 'pg'
import { type Engine, PoolsmithError } from '../../src/index.ts'
import type { Side } from './sides.ts'
import type { Tally } from './tally.ts'

const LONGEST_PAUSE_MILLIS = 400
/** The time limit of one call: the wait for a connection, a frozen server, and the statement itself. */
const CALL_LIMIT_MILLIS = 60_000

type Call = (db: Engine, side: Side) => Promise<unknown>

/** The message of bare pg, which `listen` uses, on a dead session. */
const PG_LOST = /Connection terminated|terminating connection|not queryable|ECONNRESET/

const random = (most: number): number => Math.floor(Math.random() * most)

async function transaction(trx: Knex.Transaction): Promise<void> {
  await trx('soak').insert({ n: random(1000) })
  await trx('soak')
    .where({ n: random(1000) })
    .del()
  if (random(3) === 0) throw new RolledBack()
}

class RolledBack extends Error {}

async function halfRead(stream: AsyncIterable<unknown>): Promise<void> {
  let left = random(500)
  for await (const _ of stream) if (left-- === 0) break
}

const CALLS: Readonly<Record<string, Call>> = {
  select: (db) => db.raw('select 1 as n'),
  builder: (db) => db('soak').where('n', '<', 10).limit(5),
  transaction: (db) => db.transaction(transaction),
  'half-read stream': (db, side) => halfRead(db.raw(side.numbers).stream()),
  'whole stream': async (db, side) => {
    for await (const _ of db.raw(side.numbers).stream());
  },
  'aborted wait': (db) => db.pool.use(() => undefined, { signal: AbortSignal.timeout(random(5)) }),
  'cancelled statement': (db, side) => Promise.resolve(db.raw(side.slow).timeout(50, { cancel: true })),
  listen: (db) =>
    db.pool.use(async (client: pg.Client) => {
      await client.query('listen soak')
      await sleep(random(500))
      await client.query('unlisten soak')
    }),
}

/** One caller: calls, one after the other, until it is told to stop. */
export async function caller(db: Engine, side: Side, tally: Tally, isStopped: () => boolean): Promise<void> {
  const names = Object.keys(CALLS).filter((name) => name !== 'listen' || side.connection.type === 'postgres')
  while (!isStopped()) {
    await sleep(random(LONGEST_PAUSE_MILLIS))
    const name = names[random(names.length)] as string
    const begin = performance.now()
    const watch = setTimeout(() => tally.fault(`${side.name}: ${name} hangs`), CALL_LIMIT_MILLIS).unref()
    try {
      await (CALLS[name] as Call)(db, side)
      tally.done(side, name)
    } catch (error) {
      judge(name, error, side, tally, begin)
    } finally {
      clearTimeout(watch)
    }
  }
}

function judge(name: string, error: unknown, side: Side, tally: Tally, begin: number): void {
  if (error instanceof RolledBack) tally.done(side, name)
  else if (name === 'aborted wait' && codeOf(error) === 'ABORTED') tally.done(side, name)
  else if (name === 'cancelled statement' && /timeout of 50ms/.test(messageOf(error))) tally.done(side, name)
  else if (lostWithSession(error) || (name === 'listen' && PG_LOST.test(messageOf(error))))
    tally.failed(side, `${name}: its session died`)
  else if (isAcquire(error) && tally.wasAway(side, begin)) tally.failed(side, `no connection: ${codeOf(error)}`)
  else if (codeOf(error) === 'ETIMEOUT' && tally.wasAway(side, begin))
    tally.failed(side, `${name}: the server was silent`)
  else tally.fault(`${side.name}: ${name}: ${codeOf(error)}: ${messageOf(error)}`)
}

/** The statement, or one before it in its transaction, was sent to a session that died. */
function lostWithSession(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (codeOf(cause) === 'CONNECTION_LOST') return true
  }
  return false
}

/** It failed before it had a connection. */
function isAcquire(error: unknown): boolean {
  return error instanceof PoolsmithError && error.phase !== 'query'
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'no code'
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
