/** TypeORM over SQL Server: as in typeorm.ts, with the `ConnectionPool` of the package `mssql`. */

import { randomUUID } from 'node:crypto'
import 'reflect-metadata'
import mssql from 'mssql'
import { createMssqlPool } from 'poolsmith'
import { DataSource, EntitySchema } from 'typeorm'
import { connection, rounds } from './rounds.ts'

const pets = new EntitySchema<{ id: string; name: string }>({
  name: 'typeorm_pets',
  columns: { id: { type: 'varchar', length: 36, primary: true }, name: { type: 'nvarchar' } },
})

const pool = await createMssqlPool(connection)
const ConnectionPool = function ConnectionPool() {
  return pool
}
const source = new DataSource({ type: 'mssql', driver: { ...mssql, ConnectionPool }, entities: [pets] })
await source.initialize()
await source.query(
  "if object_id('typeorm_pets') is null create table typeorm_pets (id varchar(36) primary key, name nvarchar(99))",
)
await rounds((round) =>
  source.transaction(async (manager) => {
    await manager.insert(pets, { id: randomUUID(), name: `pet ${round}` })
    await manager.find(pets, { take: 10, order: { id: 'asc' } })
  }),
)
await source.destroy()
