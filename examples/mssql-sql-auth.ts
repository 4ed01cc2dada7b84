/**
 * SQL Server with one of its own logins, over an encrypted connection that verifies the server.
 *
 *   npm install && npm run build
 *   DB_HOST=sql.example.com DB_NAME=sales DB_USER=etl DB_PASSWORD=... node examples/mssql-sql-auth.ts
 */

import { env } from 'node:process'
import { createEngine } from 'poolsmith'

await using db = await createEngine({
  type: 'mssql',
  host: env.DB_HOST ?? 'localhost',
  port: env.DB_PORT ?? 1433,
  database: env.DB_NAME ?? 'master',
  login: env.DB_USER ?? 'sa',
  password: env.DB_PASSWORD ?? null,
  extra: {
    // The CA's certificates; `system` stands for the authorities that the machine trusts.
    ca_file: env.DB_CA_FILE ?? 'system',
    request_timeout: 60,
  },
})

const [session] = await db.select(db.raw('suser_sname() as who'), db.raw('@@version as server'))
console.log(session)

// Rows arrive as they are read, so a table of any size needs little memory.
let rows = 0
for await (const _ of db.select('name').from('sys.databases').stream()) rows++
console.log(`${rows} databases`)
