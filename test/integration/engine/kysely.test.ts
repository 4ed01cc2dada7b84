import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { type Dialect, type Generated, Kysely, sql } from 'kysely'
import Cursor from 'pg-cursor'
import { postgresDialect, sqlServerDialect } from '../../../src/engine/kysely/index.ts'
import type { ConnectionPool } from '../../../src/index.ts'
import { createPki } from '../../support/pki.ts'
import { startPostgres } from '../../support/postgres.ts'
import { superuserRecord } from '../../support/superuser-record.ts'
import { startTdsServer } from '../../support/tds/server.ts'

type PooledDialect = Dialect & { pool(): Promise<Pick<ConnectionPool<object>, 'stats'>> }

interface Database {
  readonly pets: { id: Generated<number>; name: string; weight: number | null }
}

const server = await startPostgres()
const tls = await (await createPki()).issue({ commonName: 'localhost', dns: ['localhost'] })
const double = await startTdsServer({ postgres: server, logins: { sa: 'secret-of-sa' }, tls })
// The double first: it has sessions of the server behind it.
after(async () => {
  await double[Symbol.asyncDispose]()
  await server[Symbol.asyncDispose]()
})

const records = {
  postgres: superuserRecord(server),
  mssql: {
    type: 'mssql',
    host: 'localhost',
    port: double.port,
    login: 'sa',
    password: 'secret-of-sa',
    extra: { trust_server_certificate: true },
  },
} as const

const dialects: Readonly<Record<string, (options?: { readonly pool_size?: number }) => PooledDialect>> = {
  postgres: (options) => postgresDialect(records.postgres, options, { cursor: Cursor }),
  mssql: (options) => sqlServerDialect(records.mssql, options),
}

for (const [name, dialect] of Object.entries(dialects)) {
  describe(`Kysely over ${name}`, () => {
    async function withPets(
      run: (db: Kysely<Database>) => Promise<void>,
      options: { readonly pool_size?: number } = {},
    ): Promise<void> {
      const db = new Kysely<Database>({ dialect: dialect(options) })
      try {
        await db.schema
          .createTable('pets')
          .addColumn('id', 'integer', (column) => column.notNull())
          .addColumn('name', 'varchar(50)')
          .addColumn('weight', 'integer')
          .execute()
        await run(db)
      } finally {
        await db.schema.dropTable('pets').execute()
        await db.destroy()
      }
    }

    test('inserts, selects, updates and deletes', () =>
      withPets(async (db) => {
        await db.insertInto('pets').values({ id: 1, name: 'Ada', weight: 4 }).execute()
        await db.insertInto('pets').values({ id: 2, name: 'Bö', weight: null }).execute()
        const updated = await db.updateTable('pets').set({ weight: 5 }).where('name', '=', 'Bö').executeTakeFirst()
        assert.equal(updated.numUpdatedRows, 1n)
        assert.deepEqual(await db.selectFrom('pets').select(['id', 'name', 'weight']).orderBy('id').execute(), [
          { id: 1, name: 'Ada', weight: 4 },
          { id: 2, name: 'Bö', weight: 5 },
        ])
        assert.equal((await db.deleteFrom('pets').executeTakeFirst()).numDeletedRows, 2n)
      }))

    test('a transaction keeps one session, commits and rolls back', () =>
      withPets(
        async (db) => {
          await db.transaction().execute(async (trx) => {
            await trx.insertInto('pets').values({ id: 1, name: 'kept', weight: 1 }).execute()
          })
          await assert.rejects(
            db.transaction().execute(async (trx) => {
              await trx.insertInto('pets').values({ id: 2, name: 'lost', weight: 1 }).execute()
              throw new Error('no')
            }),
            /no/,
          )
          assert.deepEqual(await db.selectFrom('pets').select('name').execute(), [{ name: 'kept' }])
        },
        { pool_size: 1 },
      ))

    // Where a statement has failed, SQL Server commits the others.
    if (name === 'postgres')
      test('a commit that the server answers with ROLLBACK rejects', () =>
        withPets(async (db) => {
          const swallowing = db.transaction().execute(async (trx) => {
            await trx.insertInto('pets').values({ id: 1, name: 'lost', weight: 1 }).execute()
            await sql`select 1/0`.execute(trx).catch(() => undefined)
          })
          await assert.rejects(swallowing, /rolled back/)
          assert.deepEqual(await db.selectFrom('pets').select('name').execute(), [])
        }))

    test('a dialect gives the pool, before the first statement and after it', async () => {
      const dialect = dialects[name]?.({ pool_size: 3 })
      assert.ok(dialect !== undefined)
      const pool = await dialect.pool()
      assert.equal(pool.stats().total, 0)
      const db = new Kysely<Database>({ dialect })
      assert.deepEqual((await sql.raw('select 7 as n').execute(db)).rows, [{ n: 7 }])
      assert.equal(pool.stats().total, 1)
      assert.equal(await dialect.pool(), pool)
      await db.destroy()
      assert.equal(pool.stats().closed, true)
    })

    test('a record that could not be read is read again by the next statement', async () => {
      const id = `KYSELY_${name.toUpperCase()}`
      const dialect = name === 'postgres' ? postgresDialect(id) : sqlServerDialect(id)
      const db = new Kysely<Database>({ dialect })
      await assert.rejects(sql.raw('select 7 as n').execute(db), { code: 'CONNECTION_NOT_FOUND' })
      await assert.rejects(dialect.pool(), { code: 'CONNECTION_NOT_FOUND' })
      process.env[`POOLSMITH_CONN_${id}`] = JSON.stringify(records[name as keyof typeof records])
      try {
        assert.deepEqual((await sql.raw('select 7 as n').execute(db)).rows, [{ n: 7 }])
        assert.equal((await dialect.pool()).stats().total, 1)
      } finally {
        delete process.env[`POOLSMITH_CONN_${id}`]
        await db.destroy()
      }
    })

    test('a statement that fails costs no session', () =>
      withPets(
        async (db) => {
          for (let round = 0; round < 5; round++) {
            await assert.rejects(sql`select * from no_such_table`.execute(db))
          }
          assert.deepEqual(await db.selectFrom('pets').select('id').execute(), [])
        },
        { pool_size: 1 },
      ))

    test('the error of a statement keeps its class and has phase and transient', () =>
      withPets(async (db) => {
        const error = await sql`select no_such_column`.execute(db).then(
          () => assert.fail('it succeeded'),
          (thrown: Error & { phase?: string; transient?: boolean }) => thrown,
        )
        assert.equal(error.constructor.name, name === 'postgres' ? 'DatabaseError' : 'RequestError')
        assert.deepEqual([error.phase, error.transient], ['query', false])
      }))

    test('a stream gives every row, and one that is left early gives its session back', () =>
      withPets(
        async (db) => {
          for (let id = 1; id <= 25; id++)
            await db
              .insertInto('pets')
              .values({ id, name: `p${id}`, weight: id })
              .execute()
          const ids: number[] = []
          for await (const { id } of db.selectFrom('pets').select('id').orderBy('id').stream(10)) ids.push(id)
          assert.equal(ids.length, 25)
          for await (const { id } of db.selectFrom('pets').select('id').stream(10)) {
            if (id > 0) break
          }
          assert.equal((await db.selectFrom('pets').select('id').execute()).length, 25)
        },
        { pool_size: 1 },
      ))

    test('many callers share few sessions', () =>
      withPets(
        async (db) => {
          const answers = await Promise.all(
            Array.from({ length: 50 }, (_, n) =>
              db.selectNoFrom(sql<number>`${n} + 1`.as('n')).executeTakeFirstOrThrow(),
            ),
          )
          assert.deepEqual(
            answers.map(({ n }) => Number(n)),
            Array.from({ length: 50 }, (_, n) => n + 1),
          )
        },
        { pool_size: 2 },
      ))
  })
}

test('a record of the other database is refused at the first statement, by name', async () => {
  const wrong: readonly (readonly [Dialect, RegExp])[] = [
    [postgresDialect(records.mssql), /type: is mssql; createPgPool is for PostgreSQL/],
    [sqlServerDialect(records.postgres), /type: is postgres; sqlServerDialect is for SQL Server/],
  ]
  for (const [dialect, message] of wrong) {
    const db = new Kysely<Database>({ dialect })
    await assert.rejects(db.selectFrom('pets').selectAll().execute(), message)
    await db.destroy()
  }
})

test("a wrong password has pg's code over PostgreSQL, and ours over SQL Server", async () => {
  for (const [dialect, code] of [
    [postgresDialect({ ...records.postgres, password: 'wrong' }), '28P01'],
    [sqlServerDialect({ ...records.mssql, password: 'wrong' }), 'LOGIN_REFUSED'],
  ] as const) {
    const db = new Kysely<Database>({ dialect })
    await assert.rejects(db.selectFrom('pets').selectAll().execute(), { code })
    await db.destroy()
  }
})
