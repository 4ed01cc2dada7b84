/**
 * Several sessions that see a table at one moment.
 *
 * SQL Server has no snapshot that a session can hand to another one. Each transaction under SNAPSHOT isolation sees the
 * database as it is at its first read. A transaction that changes a table holds an intent lock on it until it ends, and
 * a shared lock on the whole table excludes that: while one more session holds such a lock, nothing in the table is
 * changed or half changed, so all snapshots that are taken meanwhile show the same rows. The lock is held only while
 * the sessions begin, and is not waited for long, because other sessions wait behind it.
 */

import { pause } from '../../../abort.ts'
import { isError } from '../../../any-error.ts'
import { PoolsmithError } from '../../../errors.ts'
import { printable } from '../../../printable.ts'
import type { ExtractEngine } from '../table.ts'
import type { CatalogueTable, SnapshotSupport } from './catalogue.ts'
import { type HeldTable, Lease } from './lease.ts'
import { quotedTable } from './sql.ts'

/** How long the pool may take to give the further sessions. */
const GATHER_MILLIS = 10_000
/** How long the lock is waited for, how often, and the pauses between, in which other sessions go on. */
const LOCK_MILLIS = 250
const ATTEMPTS = 5
const PAUSE_MILLIS = 250
/** How long the sessions have to begin: less than the second for which the lock is held. */
const BEGIN_MILLIS = 800
/** sys.messages: the lock could not be acquired in time. */
const LOCK_TIMEOUT = 1222

export interface Together {
  readonly companions: readonly Lease[]
  /** How the sessions read, for the manifest. */
  readonly note: string
}

interface Group {
  readonly engine: ExtractEngine
  readonly first: Lease
  /** Undefined for a query. */
  readonly table: CatalogueTable | undefined
  readonly support: SnapshotSupport
  /** The first one included. */
  readonly sessions: number
  readonly signal: AbortSignal | undefined
}

/** Begins the transaction of the first session, and of as many others as the pool has and begin at the same moment. */
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
  // One more session than those that read holds the lock.
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
  if (table === undefined) return 'the tables of a query are not known'
  if (!table.isTable) return 'a view cannot be locked as a whole'
  return support.locks ? undefined : 'a read-only replica ignores locks'
}

async function alone(first: Lease, reason: string, inMemory = false): Promise<Together> {
  await first.beginSnapshot(inMemory)
  return {
    companions: [],
    note:
      'One session has read all parts, one after the other, so that they are of one moment: ' +
      `${reason}. oneSnapshot: false lets several sessions read, each at its own moment.`,
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
  table: CatalogueTable,
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
    // The first read takes the snapshot.
    await lease.ask(`select top (1) 1 as one from ${name}`)
    begun.add(lease)
  }
  const own = begin(first)
  const all = Promise.allSettled([own, ...companions.map(begin)])
  await Promise.race([all, pause(BEGIN_MILLIS, { background: true })])
  const inTime = new Set(begun)
  const millis = Math.round(performance.now() - since)
  // Only a lock that is still held now was held all the time.
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

/** The lock, or why it cannot be acquired. */
async function lockOf(holder: Lease, name: string, signal: AbortSignal | undefined): Promise<HeldTable | string> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await holder.holdTable(name, LOCK_MILLIS)
    } catch (error) {
      if (!isError(error)) throw error
      if (!('number' in error)) return 'the session for the lock was lost'
      if (error.number !== LOCK_TIMEOUT) return printable(error.message)
      if (attempt === ATTEMPTS) return 'other sessions keep changing it'
    }
    await pause(PAUSE_MILLIS, { signal })
  }
}

function noSnapshots(): PoolsmithError {
  return new PoolsmithError('The database does not allow snapshot isolation: several sessions cannot see one moment.', {
    code: 'SNAPSHOT_UNAVAILABLE',
    phase: 'query',
    hint:
      'Run ALTER DATABASE CURRENT SET ALLOW_SNAPSHOT_ISOLATION ON, or read in one part, or set oneSnapshot: false ' +
      '(--no-one-snapshot) to let each session read at its own moment.',
  })
}
