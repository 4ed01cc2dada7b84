/** The TDS server test double behind a gate: prints its port, obeys the lines of its input, and ends with it. */

import { createInterface } from 'node:readline'
import { startGate } from '../../test/support/gate.ts'
import { createPki } from '../../test/support/pki.ts'
import { startPostgres } from '../../test/support/postgres.ts'
import { startTdsServer } from '../../test/support/tds/server.ts'

await using postgres = await startPostgres({ config: { max_connections: '200' } })
await postgres.sql('create table soak (n int)')
const tls = await (await createPki()).issue({ commonName: 'localhost', dns: ['localhost'] })
const logins: Record<string, string> = { sa: 'first' }
await using server = await startTdsServer({ postgres, logins, tls })
await using gate = await startGate(server.port)
console.log(gate.port)

/** The double remembers every request for its tests. */
const forgetting = setInterval(() => {
  server.journal.requests.length = 0
  server.journal.logins.length = 0
}, 1000)

for await (const line of createInterface({ input: process.stdin })) {
  const [command, argument = ''] = line.split(' ')
  let answer = 'done'
  if (command === 'password') logins.sa = argument
  else if (command === 'kill') {
    const sessions = [...server.sessions()].sort(() => Math.random() - 0.5)
    for (const session of sessions.slice(0, Number(argument))) session.kill()
  } else if (command === 'shut') await gate.shut()
  else if (command === 'open') await gate.open()
  else if (command === 'sessions') answer = String(server.sessions().length)
  console.log(answer)
}
clearInterval(forgetting)
