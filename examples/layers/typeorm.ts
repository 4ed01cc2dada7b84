/** TypeORM makes its pool itself, so it is handed a class whose constructor returns ours. */

import 'reflect-metadata'
import pg from 'pg'
import { createPgPool } from 'poolsmith/pg'
import { DataSource, EntitySchema } from 'typeorm'
import { connection, rounds } from './rounds.ts'

interface Pet {
  id: number
  name: string
}

const pets = new EntitySchema<Pet>({
  name: 'typeorm_pets',
  columns: { id: { type: Number, primary: true, generated: true }, name: { type: 'text' } },
})

const pool = await createPgPool(connection)
const Pool = function Pool() {
  return pool
}
const source = new DataSource({ type: 'postgres', driver: { ...pg, Pool }, entities: [pets], synchronize: true })
await source.initialize()
await rounds((round) =>
  source.transaction(async (manager) => {
    await manager.insert(pets, { name: `pet ${round}` })
    await manager.find(pets, { take: 10 })
  }),
)
await source.destroy()
