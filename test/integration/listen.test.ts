import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createPgPool } from '../../src/engine/pg/index.ts'
import { ConfigError, createEngine, type Engine, PoolsmithError } from '../../src/index.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { sqlServerSide } from '../support/sides/sqlserver.ts'

const ONE = { pool_size: 1, max_overflow: 0, pool_timeout: 20 }

/** The notifications so far, and a wait for more. */
class Ear {
  readonly heard: string[] = []
  readonly handler = ({ payload }: { readonly payload: string }): void => {
    this.heard.push(payload)
  }

  async until(payload: string): Promise<void> {
    while (!this.heard.includes(payload)) await sleep(5)
  }
}

describe('pool.listen', () => {
  let server: PostgresServer
  before(async () => {
    server = await startPostgres()
  })
  after(() => server[Symbol.asyncDispose]())

  const connection = () => ({
    type: 'postgres' as const,
    host: server.host,
    port: server.port,
    login: server.superuser,
    password: server.superuserPassword,
    database: 'postgres',
    extra: { sslmode: 'disable' },
  })
  const engine = (options: object = {}): Promise<Engine> => createEngine(connection(), { ...ONE, ...options })
  const notify = (channel: string, payload: string) =>
    server.sql(`select pg_notify('${channel.replaceAll("'", "''")}', '${payload}')`)
  const LISTENERS = "pg_stat_activity where query ilike 'listen %' and pid <> pg_backend_pid()"
  const listeners = async (): Promise<number> => Number(await server.sql(`select count(*) from ${LISTENERS}`))
  const untilNone = async (): Promise<void> => {
    while ((await listeners()) > 0) await sleep(5)
  }

  test('tells what a channel is sent, whatever its name, and who sent it', async () => {
    await using db = await engine()
    const channel = 'Jobs "of" today; €'
    const seen: unknown[] = []
    const { promise, resolve } = Promise.withResolvers<void>()
    await db.pool.listen(channel, (notification) => {
      seen.push(notification)
      if (notification.payload === 'last') resolve()
    })
    const { rows } = await db.raw("select pg_backend_pid() as pid, pg_notify(?, '1')", [channel])
    await notify(channel.toLowerCase(), 'another channel')
    await notify(channel, 'last')
    await promise
    assert.deepEqual(seen[0], { channel, payload: '1', processId: rows[0].pid })
    assert.equal(seen.length, 2)
  })

  test('has a session beyond the pool: the pool can lend all of its own, and none is reported as leaked', async () => {
    const leaks: unknown[] = []
    await using db = await engine({
      leak_detection_threshold: 0.02,
      on: { 'connection:leaked': (leak: unknown) => leaks.push(leak) },
    })
    const ear = new Ear()
    await db.pool.listen('beyond', ear.handler)
    assert.deepEqual([db.pool.stats().total, db.pool.stats().inUse, db.pool.stats().max], [0, 0, 1])
    const raw = await db.pool.acquire().promise
    // The loan is reported, so leaks have been looked for.
    while (leaks.length === 0) await sleep(5)
    db.pool.release(raw)
    assert.equal(leaks.length, 1)
    await notify('beyond', 'x')
    await ear.until('x')
  })

  test('after a restart of the server it listens again, and onListen lets the caller catch up', async () => {
    await using db = await engine()
    await db.raw('create table work (id serial, done boolean default false)')
    const begun: boolean[] = []
    const done = new Set<number>()
    const workOnAll = async (): Promise<void> => {
      for (const { id } of await db('work').where({ done: false })) {
        done.add(id)
        await db('work').where({ id }).update({ done: true })
      }
    }
    await db.pool.listen('work', workOnAll, {
      onListen: ({ first }) => {
        begun.push(first)
        return workOnAll()
      },
    })
    await server.stop('immediate')
    await server.start()
    // Perhaps before the session listens: then onListen finds it.
    await server.sql('insert into work default values; notify work')
    while (!done.has(1)) await sleep(5)
    assert.equal(begun[0], true)
    while (begun.length < 2) await sleep(5)
    assert.equal(begun[1], false)
    await server.sql('insert into work default values; notify work')
    while (!done.has(2)) await sleep(5)
  })

  test('an onListen that fails after a loss is tried again on another session', async () => {
    await using db = await engine()
    let begun = 0
    const ear = new Ear()
    await db.pool.listen('again', ear.handler, {
      onListen: async () => {
        begun++
        if (begun === 2) throw new Error('the catching up failed')
      },
    })
    await server.sql(`select pg_terminate_backend(pid) from ${LISTENERS}`)
    while (begun < 3) await sleep(5)
    await notify('again', 'x')
    await ear.until('x')
  })

  test('invalidate() opens the session anew', async () => {
    await using db = await engine()
    const begun: boolean[] = []
    await db.pool.listen('anew', () => undefined, { onListen: ({ first }) => void begun.push(first) })
    db.pool.invalidate()
    while (begun.length < 2) await sleep(5)
    assert.deepEqual(begun, [true, false])
  })

  test('a signal ends it, and closes the session', async () => {
    await using db = await engine()
    const controller = new AbortController()
    await db.pool.listen('brief', () => undefined, { signal: controller.signal })
    controller.abort()
    await untilNone()
    await assert.rejects(
      db.pool.listen('brief', () => undefined, { signal: controller.signal }),
      (error: PoolsmithError) => error.code === 'ABORTED' && error.cause === controller.signal.reason,
    )
  })

  test('destroy() ends it, also while the server is away', async () => {
    const db = await engine()
    await db.pool.listen('end', () => undefined)
    await db.destroy()
    await untilNone()
    await assert.rejects(
      db.pool.listen('end', () => undefined),
      { code: 'POOL_CLOSED' },
    )
    const failed = Promise.withResolvers<unknown>()
    const other = await engine({ on: { 'connection:failed': failed.resolve } })
    await other.pool.listen('end', () => undefined)
    await server.stop('immediate')
    await failed.promise
    await other.destroy()
    await server.start()
  })

  test('an error of the handler becomes a warning, and the next notification is told', async () => {
    await using db = await engine()
    const ear = new Ear()
    await db.pool.listen('bad', async (notification) => {
      ear.handler(notification)
      if (notification.payload === 'first') throw new Error('the handler failed')
    })
    const warnings: string[] = []
    const onWarning = ({ message }: Error): void => void warnings.push(message)
    process.on('warning', onWarning)
    await notify('bad', 'first')
    while (!warnings.includes('the handler failed')) await sleep(5)
    process.off('warning', onWarning)
    await notify('bad', 'second')
    await ear.until('second')
  })

  test('the session is prepared like those of the pool', async () => {
    await untilNone()
    const prepared: unknown[] = []
    await using db = await engine({
      session_init: "set application_name = 'prepared'",
      onSession: (raw: object) => void prepared.push(raw),
    })
    await db.pool.listen('prepared', () => undefined)
    assert.equal(await server.sql(`select application_name from ${LISTENERS}`), 'prepared')
    assert.equal(prepared.length, 1)
  })

  test('the first attempt fails with its error', async () => {
    await using db = await createEngine({ ...connection(), password: 'wrong' }, ONE)
    await assert.rejects(
      db.pool.listen('x', () => undefined),
      { code: 'LOGIN_REFUSED' },
    )
    await using good = await engine()
    const reason = new Error('no')
    await assert.rejects(
      good.pool.listen('x', () => undefined, {
        onListen: () => {
          throw reason
        },
      }),
      reason,
    )
    await untilNone()
  })

  test('a call that cannot work is refused before a session is opened', async () => {
    await untilNone()
    await using db = await engine()
    const failed: unknown[] = []
    db.pool.on('connection:failed', (event) => void failed.push(event))
    const handler = (): void => undefined
    const calls: readonly (readonly [unknown, unknown, object?])[] = [
      ['', handler],
      ['a\0b', handler],
      ['x'.repeat(64), handler],
      [5, handler],
      ['x', 'no function'],
      ['x', handler, { onListen: true }],
      ['x', handler, { signal: new AbortController() }],
    ]
    for (const [channel, given, options] of calls) {
      await assert.rejects(db.pool.listen(channel as never, given as never, options), ConfigError)
    }
    assert.deepEqual(failed, [])
    assert.equal(await listeners(), 0)
  })

  test('the handler runs in the context of the call, also after a loss', async () => {
    await using db = await engine()
    const storage = new AsyncLocalStorage<string>()
    const ear = new Ear()
    const told = ({ payload }: { readonly payload: string }): void =>
      ear.handler({ payload: `${storage.getStore()} ${payload}` })
    let listening = Promise.withResolvers<void>()
    const onListen = (): void => listening.resolve()
    await storage.run('request', () => db.pool.listen('context', told, { onListen }))
    await notify('context', 'one')
    await ear.until('request one')
    listening = Promise.withResolvers()
    await server.sql(`select pg_terminate_backend(pid) from ${LISTENERS}`)
    await listening.promise
    await notify('context', 'two')
    await ear.until('request two')
  })

  test('a pg.Pool listens by the pool behind it', async () => {
    await using pool = await createPgPool(connection(), ONE)
    const ear = new Ear()
    await pool.poolsmith.listen('jobs', ear.handler)
    await pool.query("select pg_notify('jobs', '7')")
    await ear.until('7')
  })
})

test('pool.listen of SQL Server says that it is for PostgreSQL', async () => {
  await using side = await sqlServerSide.start()
  await using db = await createEngine(side.connection, ONE)
  await assert.rejects(
    db.pool.listen('x', () => undefined),
    (error) => error instanceof PoolsmithError && /for PostgreSQL/.test(error.message),
  )
})
