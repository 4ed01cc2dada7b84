/**
 * Code that is written against the package `mssql`, with connections that poolsmith opens: here by its strategy for
 * whoever the connection says; a ticket or a token works the same.
 *
 *   npm run build && npm install tedious mssql
 *   DB_URI='mssql://sql.example.com/sales' node examples/mssql-package.ts
 */

import { env } from 'node:process'
import { createMssqlPool } from 'poolsmith'

await using pool = await createMssqlPool(env.DB_URI ?? 'mssql://localhost/master', { pool_size: 5 })
const smallest = 1
const { recordset } = await pool.query`select suser_sname() as who where ${smallest} < 2`
console.log(pool.strategy, recordset)
