/** Writes through a pool during a failover, for tests that no write is lost or made twice. */

import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { createEngine, type Engine } from '../../src/index.ts'
import type { Cable } from './cable.ts'
import { type PostgresOptions, type PostgresServer, startPostgres } from './postgres.ts'
import { REPLICATED, startStandby } from './standby.ts'

export const POOL_SIZE = 5
export const WORKERS = 10
/** Writes before the failover, and after it. */
export const ENOUGH = 200
/** Bytes that were sent into a network which is cut are given up after 40 seconds. */
const LIMIT_MILLIS = 120_000

export interface Pair extends AsyncDisposable {
  readonly first: PostgresServer
  readonly second: PostgresServer
  /** Where they are, each as `host:port`. */
  readonly places: readonly [string, string]
}

/** A primary and its standby, which are at `127.0.0.1`; with a cable the primary is at the other end of it. */
export async function startPair(cable?: Cable): Promise<Pair> {
  const stack = new AsyncDisposableStack()
  try {
    const first = stack.use(await startPostgres({ flavor: 'debian', hba: REPLICATED, ...(cable && behind(cable)) }))
    const second = stack.use(await startStandby(first, cable?.theirAddress))
    await first.sql('create table written (n int)')
    // A write is acknowledged when the standby has it, whatever becomes of the primary.
    await first.sql("alter system set synchronous_standby_names = '*'")
    await first.sql('select pg_reload_conf()')
    const limit = AbortSignal.timeout(LIMIT_MILLIS)
    const isSynchronous = "select count(*) from pg_stat_replication where sync_state = 'sync'"
    while ((await first.sql(isSynchronous)) !== '1') await sleep(20, undefined, { signal: limit })
    const places = [`${cable?.theirAddress ?? first.host}:${first.port}`, `${second.host}:${second.port}`] as const
    return { first, second, places, [Symbol.asyncDispose]: () => stack.disposeAsync() }
  } catch (error) {
    await stack.disposeAsync()
    throw error
  }
}

function behind({ namespace, ourAddress, theirAddress }: Cable): PostgresOptions {
  const from = `${ourAddress}/32`
  const hba = [...REPLICATED, `host replication all ${from} trust`, `host all all ${from} scram-sha-256`]
  return { namespace, listen: theirAddress, hba }
}

/** An engine on a list of hosts, each as `host:port`. */
export function engineOn(
  places: readonly string[],
  { first }: Pair,
  extra: Record<string, unknown> = {},
): Promise<Engine> {
  const split = places.map((place) => place.split(':'))
  return createEngine({
    type: 'postgres',
    host: split.map(([host]) => host).join(),
    port: split.map(([, port]) => port).join(),
    login: 'postgres',
    password: first.superuserPassword,
    database: 'postgres',
    extra: { sslmode: 'disable', pool_size: POOL_SIZE, max_overflow: 0, pool_timeout: 120, ...extra },
  })
}

async function until(condition: () => boolean): Promise<void> {
  const limit = AbortSignal.timeout(LIMIT_MILLIS)
  while (!condition()) await sleep(5, undefined, { signal: limit })
}

interface Failure {
  readonly n: number
  readonly code: unknown
}

/** Writes numbers, each once, in several loops, which disposing ends. */
export class Load implements Disposable {
  readonly acknowledged: number[] = []
  readonly failures: Failure[] = []
  readonly #db: Engine
  readonly #workers: readonly Promise<void>[]
  #begun = 0
  #isStopped = false

  constructor(db: Engine) {
    this.#db = db
    this.#workers = Array.from({ length: WORKERS }, () => this.#work())
  }

  /** The number of statements that have begun: a later one has a greater number. */
  get begun(): number {
    return this.#begun
  }

  async #work(): Promise<void> {
    while (!this.#isStopped) {
      const n = ++this.#begun
      try {
        await this.#db('written').insert({ n })
        this.acknowledged.push(n)
      } catch (error) {
        this.failures.push({ n, code: (error as { readonly code?: unknown }).code })
        await sleep(5)
      }
    }
  }

  /** Resolves when so many writes have been acknowledged from now on. */
  async more(count: number): Promise<void> {
    const before = this.acknowledged.length
    await until(() => this.acknowledged.length >= before + count)
  }

  /** Resolves when a write is acknowledged that begins later. */
  async oneFromNowOn(): Promise<void> {
    const { begun } = this
    await until(() => this.acknowledged.some((n) => n > begun))
  }

  [Symbol.dispose](): void {
    this.#isStopped = true
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await Promise.all(this.#workers)
  }
}

/** All that was acknowledged is there, and nothing twice. */
async function assertWritten(server: PostgresServer, { acknowledged }: Load): Promise<void> {
  const rows = (await server.sql('select n from written')).split('\n').map(Number)
  const found = new Set(rows)
  assert.equal(found.size, rows.length, 'no write was made twice')
  assert.deepEqual(
    acknowledged.filter((n) => !found.has(n)),
    [],
    'acknowledged and lost',
  )
}

/** Writing goes on at a new primary, and nothing is lost or made twice. @returns the statements begun before it was written to */
export async function assertGoesOn(server: PostgresServer, load: Load): Promise<number> {
  await load.oneFromNowOn()
  const { begun } = load
  await load.more(ENOUGH)
  await load.stop()
  await assertWritten(server, load)
  return begun
}
