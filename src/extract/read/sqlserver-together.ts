/**
 * Several sessions at one moment of a table.
 *
 * SQL Server has no snapshot that a session could hand to another one, and each transaction under SNAPSHOT isolation
 * sees the database as of the first thing that it reads. Whoever changes a table holds an intent lock on it until his
 * transaction ends, and a shared lock on the whole table excludes that: while one more session holds such a lock,
 * nothing in the table is changed or half changed, and all snapshots that are taken meanwhile show the same rows. The
 * lock is held for no longer than the sessions need for that, and is not waited for long, since others wait behind it.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { PoolsmithError } from '../../errors.ts'
import type { ExtractEngine } from './reader.ts'
import { quotedTable, type SnapshotSupport, type SqlServerTableId } from './sqlserver-catalogue.ts'
import { type HeldTable, Lease } from './sqlserver-lease.ts'

/** How long the pool may take to give the further sessions. */
const GATHER_MILLIS = 10_000
/** How long the lock is waited for, how often, and how long the pauses between are: in them the others go on. */
const LOCK_MILLIS = 250
const ATTEMPTS = 5
const PAUSE_MILLIS = 250
/** How long the sessions have to begin: less than the second for which the lock is held. */
const BEGIN_MILLIS = 800
/** sys.messages: the lock was not to be had in time. */
const LOCK_TIMEOUT = 1222

export interface Together {
  readonly companions: readonly Lease[]
  /** How it came to that, for the manifest. */
  readonly note: string
}

interface Group {
  readonly engine: ExtractEngine
  readonly first: Lease
  /** Undefined for a query. */
  readonly table: SqlServerTableId | undefined
  readonly support: SnapshotSupport
  /** With the first one. */
  readonly sessions: number
  readonly signal: AbortSignal | undefined
}

/** Begins the first session's transaction, and those of as many others as can be had and brought to the same moment. */
export async function beginTogether(group: Group): Promise<Together> {
  const { engine, first, table, support, sessions, signal } = group
  if (table?.inMemory) return alone(first, 'a memory-optimized table cannot be locked as a whole', true)
  if (!support.transactions && !support.frozen) throw noSnapshots()
  if (support.frozen) {
    const companions = await gather(group, sessions - 1)
    return { companions, note: 'All sessions read one database snapshot.' }
  }
  const hindrance = hindranceOf(group)
  if (hindrance !== undefined || table === undefined) return alone(first, hindrance ?? '')
  // One more than those that read, for the lock.
  const most = (engine.pool.stats?.().max ?? 1) - 1
  const others = await gather(group, Math.min(sessions, most))
  const [holder, ...companions] = others
  try {
    if (holder === undefined || companions.length === 0) {
      return await alone(first, 'the pool had no two further connections')
    }
    return await underLock(holder, first, companions, table, signal)
  } catch (error) {
    await disposeAll(companions)
    throw error
  } finally {
    await holder?.[Symbol.asyncDispose]()
  }
}

function hindranceOf({ table, support }: Group): string | undefined {
  if (table === undefined) return 'which tables a query reads is not known'
  if (!table.isTable) return 'a view cannot be locked as a whole'
  return support.locks ? undefined : 'locks mean nothing on a read-only replica'
}

async function alone(first: Lease, reason: string, inMemory = false): Promise<Together> {
  await first.beginSnapshot(inMemory)
  return {
    companions: [],
    note:
      'One session has read all parts, one after the other, so that they are of one moment: ' +
      `${reason}. oneSnapshot: false lets several sessions read, each at a moment of its own.`,
  }
}

async function gather({ engine, first, signal }: Group, count: number): Promise<Lease[]> {
  const limit = AbortSignal.timeout(GATHER_MILLIS)
  const patience = signal === undefined ? limit : AbortSignal.any([signal, limit])
  const taken = await Promise.allSettled(
    Array.from({ length: Math.max(0, count) }, () => Lease.take(engine, first.shown, signal, patience)),
  )
  const leases = taken.filter((one) => one.status === 'fulfilled').map((one) => one.value)
  if (signal?.aborted) {
    await disposeAll(leases)
    signal.throwIfAborted()
  }
  return leases
}

async function disposeAll(leases: readonly Lease[]): Promise<void> {
  await Promise.all(leases.map((lease) => lease[Symbol.asyncDispose]()))
}

async function underLock(
  holder: Lease,
  first: Lease,
  companions: readonly Lease[],
  table: SqlServerTableId,
  signal: AbortSignal | undefined,
): Promise<Together> {
  const name = quotedTable(table)
  const lock = await lockOf(holder, name, signal)
  if (typeof lock === 'string') {
    await disposeAll(companions)
    return alone(first, `the table could not be locked for the moment that takes (${lock})`)
  }
  const since = performance.now()
  const begun = new Set<Lease>()
  const begin = async (lease: Lease): Promise<void> => {
    await lease.beginSnapshot()
    // The moment is that of the first reading.
    await lease.ask(`select top (1) 1 as one from ${name}`)
    begun.add(lease)
  }
  const own = begin(first)
  const all = Promise.allSettled([own, ...companions.map(begin)])
  await Promise.race([all, sleep(BEGIN_MILLIS, undefined, { ref: false })])
  const inTime = new Set(begun)
  const millis = Math.round(performance.now() - since)
  // The lock was there all the time only if it is still there to be given up.
  const isHeld = await lock.release()
  const together = companions.filter((lease) => isHeld && inTime.has(first) && inTime.has(lease))
  const others = companions.filter((lease) => !together.includes(lease))
  for (const lease of others) if (!begun.has(lease)) lease.giveUp()
  await disposeAll(others)
  await own
  const note =
    together.length === 0
      ? 'One session has read all parts, one after the other: the others did not begin at the same moment in time.'
      : `${together.length + 1} sessions read at one moment: they began while the table was locked against changes, for ${millis} ms.`
  return { companions: together, note }
}

/** The lock, or why it is not to be had. */
async function lockOf(holder: Lease, name: string, signal: AbortSignal | undefined): Promise<HeldTable | string> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await holder.holdTable(name, LOCK_MILLIS)
    } catch (error) {
      if (!(error instanceof Error)) throw error
      if (!('number' in error)) return 'the session that was to lock it was lost'
      if (error.number !== LOCK_TIMEOUT) return error.message
      if (attempt === ATTEMPTS) return 'somebody keeps changing it'
    }
    await sleep(PAUSE_MILLIS, undefined, { signal })
  }
}

function noSnapshots(): PoolsmithError {
  return new PoolsmithError('The database does not allow snapshot isolation: several sessions cannot see one moment.', {
    code: 'SNAPSHOT_UNAVAILABLE',
    phase: 'query',
    hint:
      'Run ALTER DATABASE CURRENT SET ALLOW_SNAPSHOT_ISOLATION ON, or read in one part, or say oneSnapshot: false ' +
      '(--no-one-snapshot) to let each session read at a moment of its own.',
  })
}
