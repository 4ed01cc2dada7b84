import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { ask, postgresPool } from '../support/postgres-pool.ts'

const supportPath = fileURLToPath(new URL('../support/postgres-pool.ts', import.meta.url))

interface Ended {
  readonly code: number | null
  readonly killed: boolean
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program in a process of its own, which must end by itself within ten seconds. */
function runAlone(program: string, environment: Record<string, string>): Promise<Ended> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      ['--input-type=module', '-e', program],
      { env: { ...process.env, ...environment }, timeout: 10_000 },
      (error, stdout, stderr) => resolve({ code: child.exitCode, killed: error?.killed === true, stdout, stderr }),
    )
  })
}

describe('the process around a pool', () => {
  let server: PostgresServer
  before(async () => {
    server = await startPostgres()
  })
  after(() => server[Symbol.asyncDispose]())

  const target = (): Record<string, string> => ({
    SUPPORT: supportPath,
    TARGET: JSON.stringify({
      host: server.host,
      port: server.port,
      superuser: server.superuser,
      superuserPassword: server.superuserPassword,
    }),
  })

  test('ends by itself after destroy(), with every option switched on', async () => {
    const ended = await runAlone(
      `
        const { ask, postgresPool } = await import(process.env.SUPPORT)
        const pool = postgresPool(JSON.parse(process.env.TARGET), {
          pool_min_idle: 2, pool_keepalive: 1, leak_detection_threshold: 1, retire_on: 'rotation', pool_reset_on_return: 'full',
        })
        await Promise.all(Array.from({ length: 15 }, () => ask(pool, 'select 1')))
        await pool.destroy()
        console.log('destroyed')
      `,
      target(),
    )
    assert.deepEqual(ended, { code: 0, killed: false, stdout: 'destroyed\n', stderr: '' })
  })

  test('a process that waits for a connection is not ended by an unreferenced timer', async () => {
    const ended = await runAlone(
      `
        const { postgresPool } = await import(process.env.SUPPORT)
        const pool = postgresPool(JSON.parse(process.env.TARGET), { pool_timeout: 0.5 })
        pool.suspend()
        await pool.acquire().promise.catch((error) => console.log(error.code))
        await pool.destroy()
      `,
      target(),
    )
    assert.deepEqual(ended, { code: 0, killed: false, stdout: 'POOL_SUSPENDED\n', stderr: '' })
  })

  test('a process that is frozen, and whose session the server ends meanwhile, serves when it is thawed', async () => {
    const program = `
      import { createInterface } from 'node:readline'
      const { ask, postgresPool } = await import(process.env.SUPPORT)
      const pool = postgresPool(JSON.parse(process.env.TARGET), { pool_size: 1, max_overflow: 0 })
      for await (const sql of createInterface(process.stdin)) console.log(await ask(pool, sql))
      await pool.destroy()`
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
      env: { ...process.env, ...target() },
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    try {
      const answers = createInterface(child.stdout)[Symbol.asyncIterator]()
      const served = async (sql: string): Promise<string> => {
        child.stdin.write(`${sql}\n`)
        return (await answers.next()).value ?? 'the process has ended'
      }
      const before = await served('select pg_backend_pid()')
      child.kill('SIGSTOP')
      await server.sql(`select pg_terminate_backend(${before}, 10000)`)
      child.kill('SIGCONT')
      assert.notEqual(await served('select pg_backend_pid()'), before)
      child.stdin.end()
      assert.deepEqual(await once(child, 'exit'), [0, null])
    } finally {
      child.kill('SIGKILL')
    }
  })

  test('destroy() that is not awaited causes no unhandled rejection while acquires and openings run', async () => {
    const ended = await runAlone(
      `
        const { ask, postgresPool } = await import(process.env.SUPPORT)
        const pool = postgresPool(JSON.parse(process.env.TARGET), { pool_size: 5, drain_timeout: 0.2 })
        const work = Array.from({ length: 50 }, () => ask(pool, 'select pg_sleep(0.1)').then(() => 'ok', (error) => error.code ?? error.message))
        setTimeout(() => void pool.destroy(), 60)
        const ends = new Set(await Promise.all(work))
        console.log(ends.has('POOL_CLOSED'))
      `,
      target(),
    )
    assert.deepEqual(ended, { code: 0, killed: false, stdout: 'true\n', stderr: '' })
  })

  test('handles and server sessions do not grow over many connections', async () => {
    const sockets = (): number => process.getActiveResourcesInfo().filter((name) => name.includes('Socket')).length
    const sessions = (): Promise<string> =>
      server.sql(
        "select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()",
      )
    const until = async (done: () => boolean | Promise<boolean>): Promise<void> => {
      for (let tries = 0; tries < 500 && !(await done()); tries++) await sleep(10)
    }
    await until(() => sockets() === 0)
    const before = process.getActiveResourcesInfo().length
    await using pool = postgresPool(server, { pool_size: 4, max_overflow: 0 })
    for (let count = 0; count < 40; count++) {
      await Promise.all(Array.from({ length: 8 }, () => ask(pool, 'select 1')))
      pool.invalidate()
      await until(() => pool.stats().total + pool.stats().opening === 0)
    }
    assert.ok(pool.stats().counts.opened >= 100)
    await until(async () => sockets() === 0 && (await sessions()) === '0')
    assert.equal(await sessions(), '0')
    await until(() => process.getActiveResourcesInfo().length <= before)
    assert.ok(process.getActiveResourcesInfo().length <= before, `${process.getActiveResourcesInfo()}`)
  })

  test('a leak is found, with the place of its acquire', async () => {
    await using pool = postgresPool(server, { leak_detection_threshold: 0.2, drain_timeout: 0 })
    const leaks: (string | undefined)[] = []
    pool.on('connection:leaked', ({ stack }) => leaks.push(stack))
    async function forgetsToRelease(): Promise<void> {
      await pool.acquire().promise
    }
    await forgetsToRelease()
    for (let tries = 0; leaks.length === 0 && tries < 100; tries++) await sleep(50)
    assert.match(leaks[0] ?? '', /forgetsToRelease/)
    assert.match(leaks[0] ?? '', /pool-process\.test\.ts/)
  })

  test('knex takes the pool as its connectionPool', async () => {
    const { default: knex } = await import('knex')
    await using pool = postgresPool(server, { pool_size: 2 })
    const db = knex({ client: 'pg', connectionPool: pool })
    const { rows } = await db.raw('select 1 as one')
    assert.equal(rows[0].one, 1)
    await assert.rejects(
      db.transaction(async (trx) => {
        await trx.raw('create table never (n int)')
        throw new Error('changed my mind')
      }),
      /changed my mind/,
    )
    assert.equal(await ask(pool, "select count(*)::int from pg_class where relname = 'never'"), 0)
    await db.destroy()
    assert.equal(pool.stats().closed, false)
  })
})
