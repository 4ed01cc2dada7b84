/**
 * SQL Server by a Kerberos ticket, without any password: from the cache that kinit has filled, or by a keytab.
 *
 *   npm install && npm run build
 *   kinit && DB_HOST=sql.example.com DB_NAME=sales node examples/mssql-kerberos.ts
 *   DB_HOST=sql.example.com DB_PRINCIPAL=etl@EXAMPLE.COM DB_KEYTAB=/etc/etl.keytab node examples/mssql-kerberos.ts
 *
 * Write the host as it stands in the server's SPN, MSSQLSvc/sql.example.com:1433.
 */

import { env } from 'node:process'
import { createEngine } from 'poolsmith'

await using db = await createEngine({
  type: 'mssql',
  host: env.DB_HOST ?? 'localhost',
  port: env.DB_PORT ?? 1433,
  database: env.DB_NAME ?? 'master',
  // Without a login the default strategy is kerberos.
  extra: {
    ca_file: env.DB_CA_FILE ?? 'system',
    ...(env.DB_KEYTAB === undefined ? {} : { principal: env.DB_PRINCIPAL, keytab: env.DB_KEYTAB }),
  },
})

const [session] = await db.select(db.raw('suser_sname() as who'))
const info = await db.pool.use((raw) => db.pool.infoOf(raw))
console.log(session, info?.kerberos)
