/**
 * The TDS server test double in a process of its own, which answers repeated requests from memory. Prints its
 * port, and ends with its standard input.
 */

import { createPki } from '../test/support/pki.ts'
import { startPostgres } from '../test/support/postgres.ts'
import { startTdsServer } from '../test/support/tds/server.ts'

await using postgres = await startPostgres()
const certificate = await (await createPki()).issue({ commonName: 'localhost', dns: ['localhost'] })
await using server = await startTdsServer({ postgres, logins: { sa: 'pw' }, tls: certificate, replay: true })
console.log(server.port)
for await (const _ of process.stdin);
