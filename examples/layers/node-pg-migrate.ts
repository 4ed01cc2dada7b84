/** node-pg-migrate takes one client. */

import { join } from 'node:path'
import { runner } from 'node-pg-migrate'
import { createPgPool } from 'poolsmith/pg'
import { connection, rounds } from './rounds.ts'

await using pool = await createPgPool(connection)
await rounds(async () => {
  const dbClient = await pool.connect()
  try {
    const options = { dbClient, dir: join(import.meta.dirname, 'migrations'), migrationsTable: 'migrations' }
    const log = (): void => undefined
    await runner({ ...options, direction: 'up', log })
    await runner({ ...options, direction: 'down', log })
  } finally {
    dbClient.release()
  }
})
