/** Drizzle takes a `pg.Pool`. */

import { drizzle } from 'drizzle-orm/node-postgres'
import { pgTable, serial, text } from 'drizzle-orm/pg-core'
import { createPgPool } from 'poolsmith/pg'
import { connection, rounds } from './rounds.ts'

const pets = pgTable('drizzle_pets', { id: serial('id').primaryKey(), name: text('name').notNull() })

await using pool = await createPgPool(connection)
const db = drizzle(pool)
await pool.query('create table if not exists drizzle_pets (id serial primary key, name text not null)')
await rounds((round) =>
  db.transaction(async (trx) => {
    await trx.insert(pets).values({ name: `pet ${round}` })
    await trx.select().from(pets).limit(10)
  }),
)
