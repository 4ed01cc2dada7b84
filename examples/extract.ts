/**
 * A table into a Parquet file, in bounded memory, with progress; Ctrl-C cancels on the server and leaves no half file.
 *
 *   npm install && npm run build
 *   DB_URI='postgres://etl@db.example.com/analytics?sslmode=verify-full' \
 *   DB_TABLE=flights node examples/extract.ts
 */

import { env } from 'node:process'
import { createEngine } from 'poolsmith'
import { extractTable } from 'poolsmith/extract'

const abort = new AbortController()
process.once('SIGINT', () => abort.abort())

await using db = await createEngine(env.DB_URI ?? 'postgres://postgres@localhost/postgres')
const manifest = await extractTable(
  db,
  { schema: env.DB_SCHEMA ?? 'public', table: env.DB_TABLE ?? 'flights' },
  {
    to: env.TARGET ?? 'bronze',
    format: 'parquet',
    signal: abort.signal,
    onProgress: ({ rows, rowsPerSecond }) => process.stderr.write(`\r${rows} rows, ${rowsPerSecond} rows/s `),
  },
)
console.log(`\n${manifest.rows} rows in ${manifest.folder}`)
