/**
 * Code that is written against the package `mssql`, with connections that poolsmith opens: here
 * with the strategy that the connection selects. A password, a ticket and a token work the same way.
 *
 *   npm install && npm run build
 *   DB_URI='mssql://sql.example.com/sales' node examples/mssql-package.ts
 */

import { env } from 'node:process'
import { createMssqlPool } from 'poolsmith'

await using pool = await createMssqlPool(env.DB_URI ?? 'mssql://localhost/master', { pool_size: 5 })
const smallest = 1
const { recordset } = await pool.query`select suser_sname() as who where ${smallest} < 2`
console.log(pool.strategy, recordset)
