/**
 * The TDS server test double with the table that is extracted, in a process of its own. From the second request on it
 * answers from memory. Prints its port; ends when its input does. `node bench/extract-sqlserver-server.ts 300000`
 */

import { once } from 'node:events'
import { createPki } from '../test/support/pki.ts'
import { startPostgres } from '../test/support/postgres.ts'
import { Backend } from '../test/support/tds/backend.ts'
import { startTdsServer } from '../test/support/tds/server.ts'
import { fillSqlServer } from './extract-table.ts'

await using postgres = await startPostgres()
const { host, port, superuser: user, superuserPassword: password } = postgres
// The first session creates the types that PostgreSQL lacks.
const backend = await Backend.connect({ host, port, user, password, database: 'postgres' }, () => undefined)
await backend.close()
await postgres.sql(fillSqlServer(Number(process.argv[2])))
const tls = await (await createPki()).issue({ commonName: 'localhost', dns: ['localhost'] })
await using server = await startTdsServer({ postgres, logins: { sa: 'pw' }, tls, replay: true })
console.log(server.port)
process.stdin.resume()
await once(process.stdin, 'end')
