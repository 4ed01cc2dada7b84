/** The two databases of the soak, and the faults that are caused while the callers work. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { ConnectionObject } from '../../src/connections/parse.ts'
import { startPostgres } from '../../test/support/postgres.ts'

/** The store gets a new password a moment after the server. */
const STORE_DELAY_MILLIS = 50

export interface Side extends AsyncDisposable {
  readonly name: string
  readonly connection: ConnectionObject
  /** Rows of numbers from 1, in a column `n`. */
  readonly numbers: string
  /** Takes a second. */
  readonly slow: string
  /** The present password in the store. */
  password(): string
  /** Changes the password at the server, and then in the store. */
  rotate(): Promise<void>
  /** Ends a few sessions. */
  kill(): Promise<void>
  freeze(): void
  thaw(): void
  /** Ends every session without a message and starts again. */
  restart(): Promise<void>
  /** Sessions of the pool, as the server counts them. */
  sessions(): Promise<number>
}

export async function postgresSide(): Promise<Side> {
  const server = await startPostgres({ config: { max_connections: '60' } })
  let rotations = 0
  let password = 'first'
  await server.sql(
    `create role soak login password '${password}'; create table soak (n int); grant all on soak to soak`,
  )
  return {
    name: 'PostgreSQL',
    connection: {
      type: 'postgres',
      host: server.host,
      port: server.port,
      login: 'soak',
      database: 'postgres',
      extra: { auth_method: 'soak', sslmode: 'disable', retire_on: 'rotation' },
    },
    numbers: 'select n from generate_series(1, 2000) n',
    slow: 'select pg_sleep(1)',
    password: () => password,
    async rotate() {
      const next = `password-${++rotations}`
      await server.sql(`alter role soak password '${next}'`)
      await sleep(STORE_DELAY_MILLIS)
      password = next
    },
    async kill() {
      await server.sql(
        "select pg_terminate_backend(pid) from (select pid from pg_stat_activity where usename = 'soak' order by random() limit 2) s",
      )
    },
    freeze: () => server.freeze(),
    thaw: () => server.thaw(),
    restart: () => server.restart('immediate'),
    sessions: async () => Number(await server.sql("select count(*) from pg_stat_activity where usename = 'soak'")),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

/** The TDS server test double in a process of its own: it must not share the memory and the event loop that are measured. */
export async function sqlServerSide(): Promise<Side> {
  const child = spawn(process.execPath, [fileURLToPath(new URL('sqlserver-server.ts', import.meta.url))], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const answers = createInterface({ input: child.stdout })
  let asking: Promise<unknown> = Promise.resolve()
  /** One request at a time, because an answer does not name its request. */
  const ask = (request: string): Promise<string> => {
    const asked = asking.then(async () => {
      child.stdin.write(`${request}\n`)
      const [answer] = (await once(answers, 'line')) as [string]
      return answer
    })
    asking = asked
    return asked
  }
  const [port] = (await once(answers, 'line')) as [string]
  let rotations = 0
  let password = 'first'
  return {
    name: 'SQL Server (double)',
    connection: {
      type: 'mssql',
      host: 'localhost',
      port: Number(port),
      login: 'sa',
      database: 'master',
      extra: { auth_method: 'soak', trust_server_certificate: true, connect_timeout: 5 },
    },
    numbers: 'select n from generate_series(1, 2000) as s(n)',
    slow: "waitfor delay '00:00:01'",
    password: () => password,
    async rotate() {
      const next = `password-${++rotations}`
      await ask(`password ${next}`)
      await sleep(STORE_DELAY_MILLIS)
      password = next
    },
    async kill() {
      await ask('kill 2')
    },
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT'),
    async restart() {
      await ask('shut')
      await sleep(300)
      await ask('open')
    },
    sessions: async () => Number(await ask('sessions')),
    async [Symbol.asyncDispose]() {
      child.kill('SIGCONT')
      child.stdin.end()
      await once(child, 'exit')
    },
  }
}
