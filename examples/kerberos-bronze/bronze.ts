/**
 * Tables of a PostgreSQL in a Kerberos realm into bronze Parquet files, over sessions that Kerberos encrypts. There
 * is no password: the program uses only the ticket that kinit or a renewal sidecar has put into the cache, which also
 * names the user.
 *
 *   npm install && npm run build && kinit
 *   DB_HOST=db.example.com DB_NAME=analytics node examples/kerberos-bronze/bronze.ts
 *
 * DB_HOST must be the name that the principal of the server was made for: postgres/db.example.com@EXAMPLE.COM.
 * DB_TABLES names the tables (default: all of DB_SCHEMA, which is public), TARGET the folder (default: bronze).
 */

import { env, stderr } from 'node:process'
import { createEngine } from 'poolsmith'
import { extractTable } from 'poolsmith/extract'

const {
  DB_HOST: host,
  DB_NAME: database,
  DB_PORT: port = '5432',
  DB_SCHEMA: schema = 'public',
  TARGET: to = 'bronze',
} = env
if (!host || !database) {
  stderr.write('Set DB_HOST and DB_NAME.\n')
  process.exit(2)
}
const abort = new AbortController()
process.once('SIGINT', () => abort.abort())

await using db = await createEngine(
  {
    conn_type: 'postgres',
    host,
    port: Number(port),
    schema: database,
    // Only sessions that Kerberos encrypts; TLS and its certificates are not needed.
    extra: { auth_method: 'kerberos', gssencmode: 'require' },
  },
  { pool_size: 2 },
)

const session = await db.pool.use((raw) => db.pool.infoOf(raw))
console.log(`${session?.kerberos?.principal} at ${session?.kerberos?.server}, as ${session?.user}`)

const tables = env.DB_TABLES?.split(',') ?? (await tablesOf(schema))
let rows = 0
for (const table of tables) {
  const manifest = await extractTable(db, { schema, table }, { to, format: 'parquet', signal: abort.signal })
  rows += manifest.rows
  console.log(`${table}: ${manifest.rows} rows in ${manifest.folder}`)
}
console.log(`${rows} rows of ${tables.length} tables`)

async function tablesOf(name: string): Promise<string[]> {
  const found = await db('information_schema.tables')
    .where({ table_schema: name, table_type: 'BASE TABLE' })
    .orderBy('table_name')
    .pluck('table_name')
  return found as string[]
}
