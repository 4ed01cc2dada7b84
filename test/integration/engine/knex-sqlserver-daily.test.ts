/** Everyday use of knex on SQL Server: schemas, migrations, seeds, transactions and queries of every kind. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Knex } from 'knex'
import { createEngine, type Engine, type EngineOptions } from '../../../src/index.ts'
import { temporaryFolder } from '../../support/folder.ts'
import { createPki } from '../../support/pki.ts'
import { startPostgres } from '../../support/postgres.ts'
import { startTdsServer, type TdsServer } from '../../support/tds/server.ts'

const resources = new AsyncDisposableStack()
let server: TdsServer
let db: Engine

before(async () => {
  const postgres = resources.use(await startPostgres())
  const certificate = await (await createPki()).issue({ commonName: 'localhost', dns: ['localhost'] })
  server = resources.use(await startTdsServer({ postgres, logins: { sa: 'pw' }, tls: certificate }))
  db = resources.use(await engine({ pool_size: 3 }))
  await db.schema.createTable('flights', (table) => {
    table.increments('id')
    table.string('code', 20).notNullable().unique()
    table.decimal('price', 12, 2)
    table.boolean('late').defaultTo(false)
    table.dateTime('left_at', { precision: 7 })
    table.bigInteger('miles')
    table.uuid('ticket')
    table.text('words')
    table.binary('seal')
    table.timestamps(true, true)
    table.index(['price'])
  })
})
after(() => resources.disposeAsync())
afterEach(async () => {
  assert.equal(db.pool.stats().inUse, 0, 'a connection is out')
  assert.deepEqual(server.complaints, [])
})

function engine(options: EngineOptions = {}): Promise<Engine> {
  const extra = { trust_server_certificate: true }
  const place = { type: 'mssql', host: 'localhost', port: server.port }
  return createEngine({ ...place, login: 'sa', password: 'pw', extra }, options)
}

const fill = async (trx: Knex = db): Promise<void> => {
  await trx('flights').del()
  await trx.batchInsert(
    'flights',
    Array.from({ length: 250 }, (_, index) => ({ code: `F${index}`, price: index, late: index % 2 === 0 })),
    100,
  )
}

describe('schemas', () => {
  test('are built, altered and dropped', async () => {
    assert.equal(await db.schema.hasTable('flights'), true)
    assert.equal(await db.schema.hasTable('nowhere'), false)
    assert.equal(await db.schema.hasColumn('flights', 'price'), true)
    assert.equal(await db.schema.hasColumn('flights', 'prize'), false)
    await db.schema.alterTable('flights', (table) => {
      table.integer('extra').notNullable().defaultTo(7)
    })
    await db('flights').insert({ code: 'X' })
    assert.deepEqual(await db('flights').where({ code: 'X' }).pluck('extra'), [7])
    await db.schema.alterTable('flights', (table) => table.dropColumn('extra'))
    await assert.rejects(db('flights').insert({ code: 'X' }), Error, 'the unique index')
    await db.schema.createTable('seats', (table) => {
      table.increments('id')
      table.integer('flight').references('id').inTable('flights')
    })
    await assert.rejects(db('seats').insert({ flight: -1 }), Error, 'the foreign key')
    await db('seats').truncate()
    await db.schema.createView('cheap', (view) => {
      view.columns(['code'])
      view.as(db('flights').select('code').where('price', '<', 10))
    })
    assert.deepEqual(await db('cheap').select(), [])
    await db.schema.dropView('cheap')
    await db.schema.dropTableIfExists('seats')
    assert.equal(await db.schema.hasTable('seats'), false)
  })

  test('are looked up in the database that the server chose, if the record names none', async () => {
    assert.equal(db.connection.database, undefined)
    await db.raw('select 1 as one')
    // Its type is a promise; it is an ordinary query.
    const asked = db('flights').columnInfo() as unknown as Knex.QueryBuilder
    assert.deepEqual(asked.toSQL().bindings, ['flights', 'master'])
  })
})

test('migrations and seeds run, are listed, and are rolled back', async () => {
  await using folder = await temporaryFolder()
  const write = (name: string, text: string): Promise<void> => writeFile(join(folder.path, name), text)
  await write(
    '1_table.mjs',
    `export const up = (db) => db.schema.createTable('moved', (table) => { table.increments('id'); table.string('name') })
     export const down = (db) => db.schema.dropTable('moved')`,
  )
  await write(
    '2_rows.mjs',
    `export const up = (db) => db('moved').insert({ name: 'first' })
     export const down = (db) => db('moved').del()`,
  )
  const config = { directory: folder.path, loadExtensions: ['.mjs'] }
  assert.deepEqual(await db.migrate.latest(config), [1, ['1_table.mjs', '2_rows.mjs']])
  assert.deepEqual(await db('moved').pluck('name'), ['first'])
  const [done, pending] = await db.migrate.list(config)
  assert.deepEqual([done.length, pending.length], [2, 0])
  await using seeds = await temporaryFolder()
  await writeFile(join(seeds.path, 'seed.mjs'), `export const seed = (db) => db('moved').insert({ name: 'second' })`)
  await db.seed.run({ ...config, directory: seeds.path })
  assert.deepEqual(await db('moved').orderBy('id').pluck('name'), ['first', 'second'])

  await write(
    '3_bad.mjs',
    `export const up = async (db) => { await db('moved').del(); throw new Error('no') }
     export const down = () => undefined`,
  )
  await assert.rejects(db.migrate.latest(config), /no/)
  assert.equal((await db('moved').pluck('name')).length, 2, 'what failed was not taken back')
  assert.equal(await db.migrate.currentVersion(config), '2')
  assert.equal((await db.migrate.rollback(config, true))[1].length, 2)
  assert.equal(await db.schema.hasTable('moved'), false)
})

describe('transactions', () => {
  test('have savepoints, which roll back on their own', async () => {
    await fill()
    const names = await db.transaction(async (trx) => {
      await trx('flights').where({ code: 'F1' }).update({ words: 'outer' })
      await assert.rejects(
        trx.transaction(async (inner) => {
          await inner('flights').where({ code: 'F1' }).update({ words: 'inner' })
          throw new Error('back')
        }),
        /back/,
      )
      await trx.transaction((inner) => inner('flights').where({ code: 'F2' }).update({ words: 'kept' }))
      return trx('flights').whereIn('code', ['F1', 'F2']).orderBy('code').pluck('words')
    })
    assert.deepEqual(names, ['outer', 'kept'])
  })

  test('of every isolation level do not pass it on to later users of the session', async () => {
    await using own = await engine({ pool_size: 1, max_overflow: 0 })
    const restored = (): number =>
      server.journal.requests.filter((sql) => /^set transaction isolation level read committed$/i.test(sql)).length
    const levels = ['read uncommitted', 'repeatable read', 'serializable', 'snapshot'] as const
    for (const isolationLevel of levels) {
      const before = restored()
      const [row] = await own.transaction((trx) => trx('flights').count('* as n'), { isolationLevel })
      assert.ok(Number(row?.n) >= 0)
      await own.raw('select 1 as one')
      assert.equal(restored() - before, 1, isolationLevel)
    }
    const before = restored()
    await own.transaction((trx) => trx('flights').count('* as n'), { isolationLevel: 'read committed' })
    await own.transaction((trx) => trx('flights').count('* as n'))
    assert.equal(restored(), before)
    const unknown = { isolationLevel: 'psychic' as 'snapshot' }
    await assert.rejects(async () => own.transaction(async () => undefined, unknown), /Invalid isolationLevel/)
    assert.equal(own.pool.stats().inUse, 0)
  })

  test('can be committed and rolled back explicitly', async () => {
    await fill()
    const provider = db.transactionProvider()
    const trx = await provider()
    assert.equal(await provider(), trx)
    await trx('flights').where({ code: 'F3' }).del()
    await trx.rollback()
    const second = await db.transaction()
    await second('flights').where({ code: 'F4' }).del()
    await second.commit()
    assert.deepEqual(await db('flights').whereIn('code', ['F3', 'F4']).pluck('code'), ['F3'])
  })

  test('that fail while one of their statements runs report the cause and end the statement', async () => {
    await using own = await engine({ pool_size: 1, max_overflow: 0 })
    await fill()
    const numbers = 'select n from generate_series(1, 1000000) as s(n)'
    const ways: Readonly<Record<string, (trx: Knex.Transaction) => Promise<unknown>>> = {
      'one of several at once fails': (trx) =>
        Promise.all([
          trx('flights').where({ code: 'F1' }).update({ words: 'lost' }),
          trx('flights')
            .insert({ code: 'F1' })
            .catch(() => Promise.reject(new Error('why'))),
          trx.raw(numbers),
          trx.raw('select 9 as never_sent'),
        ]),
      'the reader of a stream fails': async (trx) => {
        for await (const _ of trx.raw(numbers).stream()) throw new Error('why')
      },
      'a stream is left lying about': async (trx) => {
        const stream = trx.raw(numbers).stream()
        await once(
          stream.on('error', () => undefined),
          'readable',
        )
        throw new Error('why')
      },
    }
    for (const [way, work] of Object.entries(ways)) {
      await assert.rejects(own.transaction(work), /^Error: why$/, way)
      assert.deepEqual(await own('flights').whereNotNull('words').pluck('code'), [], way)
    }
    assert.equal(own.pool.stats().counts.opened, 1)
    assert.ok(!server.journal.requests.includes('select 9 as never_sent'))
  })

  for (const said of ['commit', 'rollback'] as const) {
    test(`that have ended by ${said} do not touch the next user of the connection`, async () => {
      await using own = await engine({ pool_size: 1, max_overflow: 0 })
      await fill()
      const mine = { words: 'of the next one' }
      const { promise: over, resolve: onOver } = Promise.withResolvers<void>()
      let next: Promise<unknown> = Promise.resolve()
      const first = own.transaction(async (trx) => {
        await trx[said]()
        next = own.transaction(async (other) => {
          await other('flights').where({ code: 'F8' }).update(mine)
          onOver()
          // The function of the first one returns meanwhile, and knex ends the transaction once more.
          await sleep(100)
          await other.raw('select 1 as one')
          if (said === 'rollback') throw new Error('taken back')
        })
        next.catch(() => undefined)
        await over
        if (said === 'commit') throw new Error('late')
      })
      await first
      if (said === 'rollback') await assert.rejects(next, /^Error: taken back$/)
      else await next
      assert.deepEqual(await own('flights').where(mine).pluck('code'), said === 'commit' ? ['F8'] : [])
    })
  }

  test('inside an outer one that has ended fail', async () => {
    await assert.rejects(
      db.transaction(async (trx) => {
        const inner = trx.transaction(async (savepoint) => {
          await savepoint.raw('select 1 as one')
          await trx.rollback(new Error('outer'))
          throw new Error('inner')
        })
        await assert.rejects(inner, /^Error: inner$/)
      }),
      /^Error: outer$/,
    )
  })

  test('end after a statement that was not awaited', async () => {
    await fill()
    const late = { words: 'late' }
    await db.transaction(async (trx) => {
      void trx('flights').where({ code: 'F5' }).update(late).then()
      await trx.transaction(async (inner) => {
        void inner('flights').where({ code: 'F6' }).update(late).then()
      })
      await assert.rejects(
        trx.transaction(async (inner) => {
          void inner('flights').where({ code: 'F7' }).update(late).then()
          throw new Error('back')
        }),
        /^Error: back$/,
      )
    })
    assert.deepEqual(await db('flights').where(late).orderBy('code').pluck('code'), ['F5', 'F6'])
  })

  test('whose session ends reject with the reason, not with the failed rollback', async () => {
    await using own = await engine({ pool_size: 1, max_overflow: 0 })
    const error = await own
      .transaction(async (trx) => {
        await trx.raw('select 1 as one')
        server.faults.add({ at: 'request', fault: { do: 'reset' }, times: 1 })
        await trx.raw('select 2 as two')
      })
      .then(
        () => undefined,
        (thrown: Error) => thrown,
      )
    server.faults.clear()
    assert.match(error?.message ?? '', /^select 2 as two - .* has ended: read ECONNRESET$/)
    assert.deepEqual(await own.raw('select 1 as one'), [{ one: 1 }])
  })
})

describe('queries', () => {
  test('of every kind are understood by the server', async () => {
    await fill()
    const flights = (): Knex.QueryBuilder => db('flights')
    assert.deepEqual(await flights().count('* as n').first(), { n: '250' })
    assert.deepEqual(
      await flights().select('late').count('* as n').groupBy('late').havingRaw('count(*) > ?', [1]).orderBy('late'),
      [
        { late: false, n: '125' },
        { late: true, n: '125' },
      ],
    )
    const sums = flights().min('price as least').max('price as most').sum('price as all').first()
    assert.deepEqual(await sums, { least: 0, most: 249, all: 31_125 })
    assert.deepEqual(await flights().orderBy('id').offset(5).limit(2).pluck('code'), ['F5', 'F6'])
    assert.deepEqual(await flights().whereBetween('price', [7, 8]).orWhere('code', 'F1').orderBy('id').pluck('code'), [
      'F1',
      'F7',
      'F8',
    ])
    assert.deepEqual(await flights().whereIn('id', flights().select('id').where('price', 5)).pluck('code'), ['F5'])
    const few = db
      .with('few', flights().where('price', '<', 3))
      .select('code')
      .from('few')
      .orderBy('code')
    assert.deepEqual(await few, [{ code: 'F0' }, { code: 'F1' }, { code: 'F2' }])
    const both = flights().select('code').where('price', 1).union(flights().select('code').where('price', 2))
    assert.deepEqual((await both).length, 2)
    const joined = db({ a: 'flights' }).join({ b: 'flights' }, 'a.id', 'b.id').where('a.price', 9).pluck('b.code')
    assert.deepEqual(await joined, ['F9'])
    assert.deepEqual(await flights().where('price', 5).increment('price', 500), 1)
    assert.deepEqual(await flights().where('price', 505).update({ words: 'w' }, ['code', 'words']), [
      { code: 'F5', words: 'w' },
    ])
    assert.deepEqual(await flights().where('price', 505).del(['code']), [{ code: 'F5' }])
    assert.deepEqual(await flights().insert({ code: 'new', late: true }).returning(['code', 'late']), [
      { code: 'new', late: true },
    ])
    assert.deepEqual(await flights().whereNull('price').whereRaw('?? = ?', ['code', 'new']).pluck('late'), [true])
    const locked = await db.transaction((trx) => trx('flights').forUpdate().where('code', 'F7').pluck('code'))
    assert.deepEqual(locked, ['F7'])
    const heard: string[] = []
    const own = db.withUserParams({})
    own.on('query', ({ sql }: { sql: string }) => heard.push(sql))
    await own.raw('select ? as one', [1])
    assert.deepEqual(heard, ['select @p0 as one'])
  })

  test('with onConflict are refused, because SQL Server has no such clause', () => {
    assert.throws(() => db('flights').insert({ code: 'F1' }).onConflict('code').merge().toString(), /not supported/)
  })
})
