/** MikroORM takes a dialect of Kysely. */

import { defineEntity, MikroORM, p } from '@mikro-orm/postgresql'
import { postgresDialect } from 'poolsmith/kysely'
import { connection, rounds } from './rounds.ts'

const Pet = defineEntity({
  name: 'Pet',
  tableName: 'mikro_orm_pets',
  properties: { id: p.integer().primary(), name: p.text() },
})

const orm = await MikroORM.init({ dbName: 'postgres', entities: [Pet], driverOptions: postgresDialect(connection) })
await orm.em.execute('create table if not exists mikro_orm_pets (id serial primary key, name text not null)')
await rounds((round) =>
  orm.em.fork().transactional(async (em) => {
    em.create(Pet, { name: `pet ${round}` })
    await em.flush()
    await em.find(Pet, {}, { limit: 10 })
  }),
)
await orm.close()
