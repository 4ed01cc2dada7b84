/**
 * A user name and a password: SCRAM-SHA-256, over TLS that verifies the server.
 *
 * Run it (Node 24 or newer runs TypeScript directly):
 *   npm install && npm run build
 *   DB_HOST=db.example.com DB_NAME=analytics DB_USER=etl DB_PASSWORD=... node examples/password.ts
 */

import { env } from 'node:process'
import { createEngine } from 'poolsmith'

await using db = await createEngine({
  type: 'postgres',
  host: env.DB_HOST ?? 'localhost',
  port: env.DB_PORT ?? 5432,
  database: env.DB_NAME ?? 'postgres',
  login: env.DB_USER ?? 'postgres',
  password: env.DB_PASSWORD ?? null,
  extra: {
    sslmode: env.DB_SSLMODE ?? 'verify-full',
    // The CA's certificates; `system` stands for the authorities that the machine trusts.
    sslrootcert: env.DB_CA_FILE ?? 'system',
    pool_size: 5,
  },
})

const [session] = await db.select(db.raw('current_user as who'), db.raw('version() as server'))
console.log(session)
