import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { type ConnectionInput, createEngine, type Engine } from '../../../src/index.ts'

/** Callers of a pool while a credential of its record changes. */
export interface Load {
  /** Until so many sessions were opened from now on. */
  reopened(count?: number): Promise<void>
  /** Until the credential was obtained anew so many times from now on. */
  refreshed(count?: number): Promise<void>
  /** @returns the number of statements. @throws the error of the first that failed */
  end(): Promise<number>
  stop(): Promise<void>
}

/** Ten callers without a pause, whose sessions last a tenth of a second. */
export async function load(record: ConnectionInput, options: object = {}): Promise<Load> {
  const settings = { pool_size: 10, max_overflow: 0, pool_recycle: 0.1, stores: { environment: {} }, ...options }
  const state = { isOver: false, statements: 0, opened: 0, refreshed: 0 }
  const db: Engine = await createEngine(record, {
    ...settings,
    on: { 'connection:opened': () => state.opened++, 'credential:refreshed': () => state.refreshed++ },
  })
  const work = async (): Promise<void> => {
    while (!state.isOver) {
      await db.raw('select 1 as one')
      state.statements++
      await sleep(5)
    }
  }
  const workers = Promise.all(Array.from({ length: 10 }, work))
  // A failure is reported where they are waited for.
  workers.catch(() => undefined)
  const grown = async (count: 'opened' | 'refreshed', by: number): Promise<void> => {
    const target = state[count] + by
    while (state[count] < target) await Promise.race([sleep(10), workers.then(() => assert.fail('it has ended'))])
  }
  return {
    reopened: (count = 10) => grown('opened', count),
    refreshed: (count = 1) => grown('refreshed', count),
    async end() {
      state.isOver = true
      await workers
      await db.destroy()
      return state.statements
    },
    async stop() {
      state.isOver = true
      await db.destroy()
    },
  }
}
