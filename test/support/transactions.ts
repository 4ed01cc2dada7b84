/** Both ways to commit a transaction, and the error that it ends with. */

import assert from 'node:assert/strict'
import type { EventEmitter } from 'node:events'
import type { Knex } from 'knex'
import type { EngineOptions } from '../../src/index.ts'

export interface Failure extends Error {
  readonly code?: string
  readonly number?: number
  readonly phase?: string
  readonly transient?: boolean
  readonly cause?: Failure
}

export async function failure(work: PromiseLike<unknown>): Promise<Failure> {
  try {
    await work
  } catch (error) {
    return error as Failure
  }
  return assert.fail('it succeeded')
}

/** Resolves when this side has heard of the end of a transaction's session. */
export async function sessionEnded(trx: Knex.Transaction): Promise<void> {
  const raw = (await trx.client.acquireConnection()) as EventEmitter
  await new Promise((resolve) => raw.once('end', resolve))
}

/** Both ways to commit: the function returns, or the caller says so. */
export const FORMS: Readonly<
  Record<string, (db: Knex, work: (trx: Knex.Transaction) => Promise<unknown>) => Promise<void>>
> = {
  'db.transaction(work)': async (db, work) => {
    await db.transaction(work)
  },
  'await trx.commit()': async (db, work) => {
    const trx = await db.transaction()
    try {
      await work(trx)
    } catch (error) {
      await trx.rollback()
      throw error
    }
    await trx.commit()
  },
}

export const OPTIONS: EngineOptions = { pool_size: 1, max_overflow: 0, pool_timeout: 5, drain_timeout: 1 }
