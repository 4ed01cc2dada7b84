/**
 * The second half of psql's \copy to a file and DuckDB to Parquet, in a process of its own.
 * `node bench/extract-duckdb.ts copy.csv bench.parquet` prints the seconds.
 */

import { DuckDBInstance } from '@duckdb/node-api'

const COLUMNS = `{'id': 'INTEGER', 'big': 'BIGINT', 'small': 'SMALLINT', 'flag': 'BOOLEAN', 'ratio': 'DOUBLE',
  'amount': 'DECIMAL(12,2)', 'day': 'DATE', 'at': 'TIMESTAMPTZ', 'carrier': 'VARCHAR', 'hash': 'VARCHAR',
  'note': 'VARCHAR', 'uid': 'UUID'}`

const [from, to] = process.argv.slice(2)
const instance = await DuckDBInstance.create(':memory:')
const connection = await instance.connect()
const started = performance.now()
await connection.run(
  `copy (select * from read_csv('${from}', header = false, columns = ${COLUMNS}))
   to '${to}' (format parquet, compression zstd)`,
)
console.log((performance.now() - started) / 1000)
connection.closeSync()
instance.closeSync()
