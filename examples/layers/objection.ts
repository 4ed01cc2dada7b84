/** Objection takes a Knex. */

import { Model } from 'objection'
import { createEngine } from 'poolsmith'
import { connection, rounds } from './rounds.ts'

class Pet extends Model {
  static override tableName = 'objection_pets'
  declare id: number
  declare name: string
}

await using db = await createEngine(connection)
await db.raw('create table if not exists objection_pets (id serial primary key, name text not null)')
await rounds((round) =>
  Pet.transaction(db as never, async (trx) => {
    await Pet.query(trx).insert({ name: `pet ${round}` })
    await Pet.query(trx).limit(10)
  }),
)
