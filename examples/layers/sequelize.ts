/** Sequelize 7 has a pool of its own: each of its clients leases a session of ours, and returns it when the client ends. */

import { EventEmitter } from 'node:events'
import { DataTypes, Sequelize } from '@sequelize/core'
import { PostgresDialect } from '@sequelize/postgres'
import type pg from 'pg'
import { createPgPool } from 'poolsmith/pg'
import { connection, rounds } from './rounds.ts'

const pool = await createPgPool(connection)

class LeasedClient extends EventEmitter {
  /** Sequelize listens here for the settings that the server reports at a login; the login happened before the lease. */
  readonly connection = new EventEmitter()
  readonly #fail = (error: Error): boolean => this.emit('error', error)
  #client: pg.PoolClient | undefined
  _ending = false

  connect(done: (error?: Error) => void): void {
    pool.connect().then((client) => {
      this.#client = client.on('error', this.#fail)
      const parameterName = 'standard_conforming_strings'
      this.connection.emit('parameterStatus', { parameterName, parameterValue: 'on' })
      done()
    }, done)
  }

  query(...given: unknown[]): unknown {
    const client = this.#client as { query(...given: unknown[]): unknown }
    return client.query(...given)
  }

  async end(): Promise<void> {
    this._ending = true
    this.#client?.off('error', this.#fail).release()
  }
}

const sequelize = new Sequelize({
  dialect: PostgresDialect,
  pgModule: { Client: LeasedClient } as never,
  logging: false,
  pool: { idle: 1000, evict: 500 },
})
const pets = sequelize.define('sequelize_pets', { name: DataTypes.TEXT })
await pets.sync()
await rounds((round) =>
  sequelize.transaction(async (transaction) => {
    await pets.create({ name: `pet ${round}` }, { transaction })
    await pets.findAll({ limit: 10, transaction })
  }),
)
await sequelize.close()
await pool.end()
