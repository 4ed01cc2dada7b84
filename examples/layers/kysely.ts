/** Kysely. Its dialect comes from `poolsmith/kysely`. */

import { type Generated, Kysely } from 'kysely'
import { postgresDialect } from 'poolsmith/kysely'
import { connection, rounds } from './rounds.ts'

interface Database {
  kysely_pets: { id: Generated<number>; name: string }
}

const db = new Kysely<Database>({ dialect: postgresDialect(connection) })
await db.schema
  .createTable('kysely_pets')
  .ifNotExists()
  .addColumn('id', 'serial')
  .addColumn('name', 'text', (column) => column.notNull())
  .execute()
await rounds((round) =>
  db.transaction().execute(async (trx) => {
    await trx
      .insertInto('kysely_pets')
      .values({ name: `pet ${round}` })
      .execute()
    await trx.selectFrom('kysely_pets').selectAll().limit(10).execute()
  }),
)
await db.destroy()
