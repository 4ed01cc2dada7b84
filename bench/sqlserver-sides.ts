/** Our engine and bare knex with tedious, over the same server with the same login and the same encryption. */

import knexFactory, { type Knex } from 'knex'
import { createEngine, type Engine } from '../src/index.ts'

export function engine(port: number, size: number): Promise<Engine> {
  return createEngine(
    {
      type: 'mssql',
      host: 'localhost',
      port,
      login: 'sa',
      password: 'pw',
      database: 'master',
      extra: { trust_server_certificate: true },
    },
    { pool_size: size, max_overflow: 0 },
  )
}

export function bareKnex(port: number, size: number): Knex {
  return knexFactory({
    client: 'mssql',
    connection: {
      server: 'localhost',
      port,
      user: 'sa',
      password: 'pw',
      database: 'master',
      options: { encrypt: true, trustServerCertificate: true },
    } as Knex.MsSqlConnectionConfig,
    pool: { min: 0, max: size },
  })
}

/** Rows of six columns, as in a report. */
export function rowsOf(count: number): string {
  return `select n as id, cast(n as bigint) * 1000003 as big, cast(n * 0.37 as float) as ratio,
    cast(n * 0.01 as decimal(12,2)) as amount, concat('carrier ', n % 20) as carrier,
    cast('2001-02-03 04:05:06.789' as datetime2) as at from generate_series(1, ${count}) as s(n)`
}
