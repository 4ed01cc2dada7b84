/**
 * One side of the measurement, in a process of its own: opens sessions, uses each once, says what memory they take, and
 * is idle until it is killed. Its processor time is read from outside: code that reads it would be part of it.
 *
 * Arguments: `ours` or `peer`, the number of sessions, and the server's port.
 */

import { setTimeout as sleep } from 'node:timers/promises'

/** The message of the process when it begins to be idle. */
export interface Idle {
  readonly bytesPerSession: number
}

interface Sessions {
  acquire(): Promise<object>
  run(session: object): Promise<unknown>
  release(session: object): void
}

const [side = '', count = '', port = ''] = process.argv.slice(2)
const sessionCount = Number(count)

async function ours(): Promise<Sessions> {
  const { createEngine } = await import('../src/index.ts')
  const db = await createEngine(
    {
      type: 'postgres',
      host: '127.0.0.1',
      port: Number(port),
      login: 'bench',
      password: 'x',
      extra: { sslmode: 'disable' },
    },
    // A thousand logins at once, on each of several processes. Its timer has ended when the figures begin.
    { pool_size: sessionCount, max_overflow: 0, pool_timeout: 100 },
  )
  const query = (session: object): Promise<unknown> => (session as import('pg').Client).query('select 1')
  return {
    acquire: () => db.pool.acquire().promise,
    run: query,
    release: (session) => db.pool.release(session),
  }
}

async function peer(): Promise<Sessions> {
  const { default: pg } = await import('pg')
  const pool = new pg.Pool({
    host: '127.0.0.1',
    port: Number(port),
    user: 'bench',
    password: 'x',
    database: 'bench',
    ssl: false,
    max: sessionCount,
    // As long as the sessions of ours are kept, at the least.
    idleTimeoutMillis: 0,
  })
  return {
    acquire: () => pool.connect(),
    run: (session) => (session as import('pg').PoolClient).query('select 1'),
    release: (session) => (session as import('pg').PoolClient).release(),
  }
}

function memory(): number {
  globalThis.gc?.()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

const sessions = await (side === 'ours' ? ours() : peer())
// The modules that the first session loads belong to none of the others.
const first = await sessions.acquire()
await sessions.run(first)
const before = memory()
const held = await Promise.all(Array.from({ length: sessionCount - 1 }, () => sessions.acquire()))
await Promise.all([first, ...held].map((session) => sessions.run(session)))
for (const session of [first, ...held]) sessions.release(session)
// The work that the opening has left behind.
await sleep(2000)
const idle: Idle = { bytesPerSession: (memory() - before) / Math.max(1, sessionCount - 1) }
process.send?.(idle)
process.on('disconnect', () => process.exit())
