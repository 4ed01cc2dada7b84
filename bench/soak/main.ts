/**
 * `npm run soak [-- SECONDS]`: 200 callers over both databases while credentials rotate, sessions are killed and the
 * servers are frozen and restarted. Five minutes by default.
 *
 * The exit code is 1 when a statement failed that was not sent to a dying session, when an acquire exceeded its limit,
 * or when anything was left open.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Credential } from '../../src/credentials/credential.ts'
import { refreshingSource } from '../../src/credentials/refreshing-source.ts'
import { createEngine, type Engine } from '../../src/index.ts'
import { Secret } from '../../src/secret.ts'
import { StrategyRegistry } from '../../src/strategies/registry.ts'
import { defineStrategy } from '../../src/strategies/strategy.ts'
import { caller } from './callers.ts'
import { postgresSide, type Side, sqlServerSide } from './sides.ts'
import { Tally } from './tally.ts'

const CALLERS = 100
const POOL_TIMEOUT_SECONDS = 10
/** No call of the soak uses a connection for so long, except while the server is down. */
const LEAK_SECONDS = 8
const ROTATE_MILLIS = 5000
const KILL_MILLIS = 1500
const FREEZE_MILLIS = 3000
const LONGEST_CYCLE_SECONDS = 40
const SAMPLE_MILLIS = 2000
const SETTLE_MILLIS = 20_000

const seconds = Number(process.argv[2] ?? 300)
if (!(seconds > 0 && seconds <= 86_400)) {
  console.error('Usage: npm run soak [-- SECONDS], up to a day')
  process.exit(2)
}

const tally = new Tally(POOL_TIMEOUT_SECONDS * 1000)

/** An engine whose password comes from the side's store, with every acquire measured. */
async function engineFor(side: Side): Promise<Engine> {
  const strategy = defineStrategy({
    name: 'soak',
    dialects: ['postgres', 'mssql'],
    description: 'A password from a store, for the soak.',
    fields: {},
    credentials: () =>
      refreshingSource({
        fetch: async (): Promise<Credential> => ({
          kind: 'password',
          identity: 'soak',
          password: new Secret(side.password()),
          issuedAt: Date.now(),
        }),
      }),
  })
  const registry = new StrategyRegistry()
  registry.register(strategy)
  const db = await createEngine(side.connection, {
    registry,
    pool_size: 10,
    max_overflow: 10,
    pool_min_idle: 2,
    pool_timeout: POOL_TIMEOUT_SECONDS,
    pool_ping_timeout: 2,
    pool_recycle: 30,
    drain_timeout: 5,
    leak_detection_threshold: LEAK_SECONDS,
    on: {
      'connection:leaked': ({ stack = '' }) => {
        const [, line = 'an unknown line'] = stack.split('\n')
        if (!tally.wasAway(side, performance.now() - LEAK_SECONDS * 1000)) tally.fault(`held for long: ${line.trim()}`)
      },
    },
  })
  const { pool } = db
  const { acquire } = pool
  pool.acquire = (options) => {
    const begin = performance.now()
    const acquiring = acquire.call(pool, options)
    const note = (): void => tally.acquired(begin)
    acquiring.promise.then(note, note)
    return acquiring
  }
  return db
}

async function every(millis: number, isOver: () => boolean, run: () => Promise<void>): Promise<void> {
  while (!isOver()) {
    await sleep(millis)
    if (!isOver()) await run()
  }
}

/** Rotates, kills, freezes and restarts, one at a time, until the end. */
async function disturb(side: Side, isOver: () => boolean): Promise<void> {
  const cycle = Math.min(LONGEST_CYCLE_SECONDS, seconds) * 1000
  let busy = Promise.resolve()
  const inTurn = (run: () => Promise<void>): Promise<void> => {
    busy = busy.then(run)
    return busy
  }
  const freeze = async (): Promise<void> => {
    side.freeze()
    await sleep(FREEZE_MILLIS)
    side.thaw()
  }
  let frozeLast = false
  await Promise.all([
    every(ROTATE_MILLIS, isOver, () => inTurn(() => side.rotate())),
    every(KILL_MILLIS, isOver, () => inTurn(() => side.kill())),
    every(cycle / 3, isOver, () =>
      inTurn(() => {
        frozeLast = !frozeLast
        return tally.away(side, frozeLast ? freeze : () => side.restart())
      }),
    ),
  ])
}

async function until(what: string, condition: () => Promise<boolean> | boolean): Promise<void> {
  const limit = performance.now() + SETTLE_MILLIS
  while (!(await condition())) {
    if (performance.now() > limit) {
      tally.fault(what)
      return
    }
    await sleep(50)
  }
}

async function soak(side: Side, isOver: () => boolean): Promise<void> {
  const db = await engineFor(side)
  const { pool } = db
  await Promise.all([
    disturb(side, isOver),
    ...Array.from({ length: CALLERS }, () => caller(db, side, tally, isOver)),
    every(SAMPLE_MILLIS, isOver, async () => {
      const begin = performance.now()
      if (tally.wasAway(side, begin)) return
      const before = pool.stats().total
      const atServer = await side.sessions().catch((error: unknown) => {
        // The server has been stopped since.
        if (!tally.wasAway(side, begin)) throw error
      })
      if (atServer === undefined) return
      const { total, opening } = pool.stats()
      tally.counted(atServer, Math.min(Math.max(atServer, Math.min(before, total)), Math.max(before, total) + opening))
    }),
  ])
  await until(`${side.name}: a connection was not returned`, () => {
    const { inUse, waiting, checking } = pool.stats()
    return inUse + waiting + checking === 0
  })
  await until(`${side.name}: the server has other sessions than the pool`, async () => {
    return pool.stats().opening === 0 && (await side.sessions()) === pool.stats().total
  })
  await db.destroy()
  await until(`${side.name}: the server has sessions after destroy()`, async () => (await side.sessions()) === 0)
}

const resources = (): string[] => process.getActiveResourcesInfo().filter((name) => !/^(TTY|Pipe)Wrap$/.test(name))

const before = resources()
{
  await using stack = new AsyncDisposableStack()
  const sides = [stack.use(await postgresSide()), stack.use(await sqlServerSide())]
  const end = performance.now() + seconds * 1000
  const isOver = (): boolean => performance.now() > end
  console.log(`${sides.length * CALLERS} callers for ${seconds} s over ${sides.map(({ name }) => name).join(' and ')}`)
  await Promise.all([
    ...sides.map((side) => soak(side, isOver)),
    every(SAMPLE_MILLIS, isOver, async () => tally.sample()),
  ])
}
await sleep(100)
const left = resources()
if (left.length > before.length) tally.fault(`left in the process: ${left.join(', ')}`)
tally.judgeLate()
process.exitCode = tally.report() ? 0 : 1
