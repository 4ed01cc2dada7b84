/**
 * NestJS with TypeORM: `TypeOrmModule` takes the options that TypeORM takes (typeorm.ts). The other modules of NestJS for
 * data layers take their layer's options in the same way.
 */

import 'reflect-metadata'
import { Module } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { TypeOrmModule } from '@nestjs/typeorm'
import pg from 'pg'
import { createPgPool } from 'poolsmith/pg'
import { DataSource, EntitySchema } from 'typeorm'
import { connection, rounds } from './rounds.ts'

const guests = new EntitySchema<{ id: number; name: string }>({
  name: 'nestjs_guests',
  columns: { id: { type: Number, primary: true, generated: true }, name: { type: 'text' } },
})

const database = TypeOrmModule.forRootAsync({
  useFactory: async () => {
    const pool = await createPgPool(connection)
    const Pool = function Pool() {
      return pool
    }
    return { type: 'postgres' as const, driver: { ...pg, Pool }, entities: [guests], synchronize: true }
  },
})

class AppModule {}
// As the decorator @Module, which Node cannot run without a compiler.
Module({ imports: [database] })(AppModule)

const app = await NestFactory.createApplicationContext(AppModule, { logger: false })
const source = app.get(DataSource)
await rounds((round) =>
  source.transaction(async (manager) => {
    await manager.insert(guests, { name: `guest ${round}` })
    await manager.find(guests, { take: 10 })
  }),
)
await app.close()
