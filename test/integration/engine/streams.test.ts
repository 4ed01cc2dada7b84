/** A stream of knex ends with its error, returns its connection and does not delay destroy(), whatever ends it. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { createEngine, type Engine, type EngineOptions } from '../../../src/index.ts'
import { type Gate, startGate } from '../../support/gate.ts'
import { postgresSide } from '../../support/sides/postgres.ts'
import type { Side, SideKind } from '../../support/sides/side.ts'
import { sqlServerSide } from '../../support/sides/sqlserver.ts'

/** Far below the limits of the tests, far above the time that a busy machine needs. */
const LIMIT_MILLIS = 10_000

const ROOT = join(import.meta.dirname, '..', '..', '..')

/** A million rows that name their session, and the expression for the session. */
const SQL = {
  PostgreSQL: {
    rows: 'select n, pg_backend_pid() as id from generate_series(1, 1000000) n',
    session: 'pg_backend_pid()',
  },
  'SQL Server': { rows: 'select n, @@spid as id from generate_series(1, 1000000) as s(n)', session: '@@spid' },
} as const

interface Failure extends Error {
  readonly code?: string
}

/** The error that a promise ends with, within the limit. */
async function failure(work: PromiseLike<unknown>): Promise<Failure> {
  const limit = new AbortController()
  try {
    return await Promise.race([
      work.then(
        () => assert.fail('it succeeded'),
        (error: Failure) => error,
      ),
      sleep(LIMIT_MILLIS, undefined, { signal: limit.signal }).then(() => assert.fail('it has not ended')),
    ])
  } finally {
    limit.abort()
  }
}

async function readAll(stream: AsyncIterable<unknown>): Promise<number> {
  let rows = 0
  for await (const _ of stream) rows++
  return rows
}

async function until(met: () => boolean, what: string): Promise<void> {
  for (let waited = 0; !met(); waited += 10) {
    assert.ok(waited < LIMIT_MILLIS, what)
    await sleep(10)
  }
}

for (const kind of [postgresSide, sqlServerSide] as readonly SideKind[]) {
  const sql = SQL[kind.name as keyof typeof SQL]

  describe(`${kind.name}: a stream`, () => {
    let side: Side
    let gate: Gate
    const options: EngineOptions = { pool_size: 1, max_overflow: 0, pool_timeout: 5, drain_timeout: 1 }

    before(async () => {
      side = await kind.start()
      gate = await startGate(side.connection.port as number)
    })
    after(async () => {
      await gate[Symbol.asyncDispose]()
      await side[Symbol.asyncDispose]()
    })

    const engine = (more: EngineOptions = {}): Promise<Engine> =>
      createEngine({ ...side.connection, port: gate.port }, { ...options, ...more })

    /** Begins to read; `id` is the session. */
    async function begin(db: Engine): Promise<{ stream: Readable; id: number }> {
      const stream = db.raw(sql.rows).stream({ highWaterMark: 8 }) as unknown as Readable
      // An error that arrives while the stream is not read is seen by the reading that follows.
      stream.on('error', () => undefined)
      await once(stream, 'readable')
      const { id } = stream.read() as { id: number }
      return { stream, id }
    }

    async function assertReleased(db: Engine): Promise<void> {
      await until(() => db.pool.stats().inUse === 0, 'the connection was not given back')
      assert.deepEqual(kind.rowsOf(await db.raw('select 1 as n')), [{ n: 1 }])
    }

    const ways: Readonly<Record<string, (id: number) => Promise<void> | void>> = {
      'is killed on the server': (id) => side.kill(id),
      'is reset': () => gate.reset(),
      'ends with the server': async () => {
        await side.stop()
        await side.start()
      },
    }
    for (const [way, end] of Object.entries(ways)) {
      test(`whose session ${way} while its reader pauses ends with an error`, async () => {
        await using db = await engine()
        const { stream, id } = await begin(db)
        // The reader has rows that it has not read and asks for no more.
        await until(() => stream.readableLength >= 8, 'no rows came')
        await end(id)
        await failure(readAll(stream))
        await assertReleased(db)
      })

      test(`whose session ${way} while its reader waits ends with an error`, async () => {
        await using db = await engine()
        const known = db.raw(`select ${sql.session} as id`)
        const id = Number(kind.rowsOf(await known)[0]?.['id'])
        const stream = db.raw(kind.slow).stream()
        const failed = failure(readAll(stream))
        await until(() => db.pool.stats().inUse === 1, 'it did not begin')
        await sleep(50)
        await end(id)
        await failed
        await assertReleased(db)
      })
    }

    test('of a silent server ends with the pool, within drain_timeout', async () => {
      const db = await engine()
      const { stream } = await begin(db)
      const failed = failure(readAll(stream))
      gate.freeze()
      try {
        const ended = await Promise.race([db.destroy().then(() => true), sleep(LIMIT_MILLIS, false, { ref: false })])
        assert.ok(ended, 'destroy() is held up')
        await failed
      } finally {
        gate.thaw()
      }
    })

    test('that is no longer read does not delay destroy()', async () => {
      const db = await engine()
      const { stream } = await begin(db)
      const failed = failure(once(stream, 'close'))
      const ended = await Promise.race([db.destroy().then(() => true), sleep(LIMIT_MILLIS, false, { ref: false })])
      assert.ok(ended, 'destroy() is held up')
      await failed
      assert.equal(db.pool.stats().total, 0)
    })

    test('of a query that cannot be built ends with its error and acquires no connection', async () => {
      await using db = await engine()
      const undefinedBinding = db('t').where({ a: undefined }).stream()
      assert.match((await failure(readAll(undefinedBinding))).message, /Undefined binding/)
      assert.match((await failure(readAll(db.raw('select ?, ?', [1]).stream()))).message, /Expected 1 bindings, saw 2/)
      assert.equal(db.pool.stats().counts.acquired, 0)
    })

    test('of a value that cannot be sent ends with its error', async () => {
      await using db = await engine()
      const circular: { self?: unknown } = {}
      circular.self = circular
      const impossible = kind.name === 'PostgreSQL' ? circular : 2 ** 60
      await failure(readAll(db.raw('select ? as v', [impossible as never]).stream()))
      await assertReleased(db)
      assert.equal(db.pool.stats().counts.opened, 1)
    })

    test('whose statement fails ends with the error once, and its session stays open', async () => {
      await using db = await engine()
      const stream = db.raw('select 1/(5000-n) as x from generate_series(1, 10000) as s(n)').stream()
      let errors = 0
      stream.on('error', () => errors++)
      assert.match((await failure(readAll(stream))).message, /division by zero|Divide by zero/)
      await assertReleased(db)
      assert.equal(errors, 1)
      assert.equal(db.pool.stats().counts.opened, 1)
    })

    test('for which no connection can be opened ends with that error', async () => {
      await using db = await createEngine({ ...side.connection, port: 1 }, options)
      const stream = db.raw(sql.rows).stream()
      const closed = once(stream, 'close').catch(() => undefined)
      assert.equal((await failure(readAll(stream))).code, 'CONNECT_REFUSED')
      await closed
    })

    test('that is destroyed while it waits for a connection leaves the queue and sends nothing', async () => {
      await using db = await engine({ pool_timeout: 60 })
      const sent: string[] = []
      db.on('query', (query: { sql: string }) => sent.push(query.sql))
      await db.transaction(async () => {
        const streams = [1, 2, 3].map(() => db.raw(sql.rows).stream())
        await until(() => db.pool.numPendingAcquires() === 3, 'they do not wait')
        for (const stream of streams) stream.destroy()
        await until(() => db.pool.numPendingAcquires() === 0, 'they are still in the queue')
      })
      assert.deepEqual(
        sent.filter((each) => each === sql.rows),
        [],
      )
      await assertReleased(db)
    })

    test('that is left while it waits in its transaction is never sent', async () => {
      await using db = await engine()
      await db.transaction(async (trx) => {
        const before = trx.raw('select 1 as n').then(() => undefined)
        const stream = trx.raw(sql.rows).stream()
        stream.destroy()
        await before
        assert.deepEqual(kind.rowsOf(await trx.raw('select 2 as n')), [{ n: 2 }])
        for await (const row of trx.raw(sql.rows).stream()) if (row.n === 3) break
        assert.deepEqual(kind.rowsOf(await trx.raw('select 3 as n')), [{ n: 3 }])
      })
      await assertReleased(db)
      assert.equal(db.pool.stats().counts.opened, 1)
    })
  })
}

describe('PostgreSQL without the package pg-query-stream', () => {
  test('a stream ends with an error that names the command to install it', async () => {
    await using side = await postgresSide.start()
    const program = `
      import { registerHooks } from 'node:module'
      registerHooks({
        resolve(specifier, context, next) {
          if (specifier !== 'pg-query-stream') return next(specifier, context)
          throw Object.assign(new Error("Cannot find package 'pg-query-stream'"), { code: 'ERR_MODULE_NOT_FOUND' })
        },
      })
      const { createEngine } = await import('./src/index.ts')
      await using db = await createEngine(${JSON.stringify(side.connection)}, { pool_size: 1, max_overflow: 0 })
      try {
        for await (const _ of db.raw('select 1').stream());
      } catch ({ code, hint }) {
        const { rows } = await db.raw('select 1 as n')
        console.log(JSON.stringify({ code, hint, rows }))
      }`
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program], {
      cwd: ROOT,
      timeout: LIMIT_MILLIS,
    })
    assert.deepEqual(JSON.parse(stdout), {
      code: 'PACKAGE_MISSING',
      hint: 'npm install pg-query-stream',
      rows: [{ n: 1 }],
    })
  })
})
