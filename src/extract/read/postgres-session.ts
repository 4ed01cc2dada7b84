/** One session for one extract: a read-only transaction with every setting that changes what text looks like fixed. */

import type { Client } from 'pg'
import { PoolsmithError } from '../../errors.ts'
import { document, quotedRelation, type Relation } from './postgres-catalogue.ts'
import { quoteText } from './postgres-literals.ts'
import type { ExtractEngine } from './reader.ts'

/** How long a table that somebody else keeps locked is waited for, when the session has no `lock_timeout`. */
const LOCK_TIMEOUT = '60s'
/**
 * The same for a session on another one's snapshot. That one has the lock: who stands between the two waits for it,
 * and would be waited for in a circle.
 */
const SHARED_LOCK_TIMEOUT = '3s'
/** How long the server may take to end a cancelled statement. */
const CANCEL_MILLIS = 5000
/** How long a second connection, which asks for the cancelling, may take to come. */
const HELPER_MILLIS = 2000

/**
 * Settings of the transaction. Text forms as `psql` shows them by default but in UTC; shortest exact floats
 * (before PostgreSQL 12: 17 digits); rows in the table's order; no time limit that ends a long copy.
 */
const SETTINGS = [
  'statement_timeout = 0',
  'idle_in_transaction_session_timeout = 0',
  'synchronize_seqscans = off',
  "timezone = 'UTC'",
  "datestyle = 'ISO, YMD'",
  "intervalstyle = 'postgres'",
  "bytea_output = 'hex'",
  'extra_float_digits = 3',
  "client_encoding = 'UTF8'",
  // The rules by which values are put into a statement.
  'standard_conforming_strings = on',
]

/** `transaction_timeout` is of PostgreSQL 17. */
const LATER_SETTINGS = `
select pg_catalog.set_config(name, '0', true) from pg_catalog.pg_settings where name = 'transaction_timeout'`

/**
 * Begins the transaction and locks the table against being altered before the snapshot is taken: a table that is
 * rewritten between the two would look empty. LOCK TABLE takes no snapshot. Where it is not allowed (views, or a
 * privilege on some columns only) a statement that reads no row locks as every statement does: from then on, and so
 * while the columns' types are looked up and used.
 *
 * @param relation the table; undefined for a query
 * @param snapshot another session's, which keeps the table locked already
 */
export async function beginSnapshot(client: Client, relation: Relation | undefined, snapshot?: string): Promise<void> {
  const lockTimeout = relation?.lockTimeout ?? (await lockTimeoutOf(client))
  const statements = [
    'begin transaction isolation level repeatable read read only',
    // It has to be the first that the transaction does.
    ...(snapshot === undefined ? [] : [`set transaction snapshot ${quoteText(snapshot)}`]),
    ...SETTINGS.map((setting) => `set local ${setting}`),
    ...(lockTimeout === '0'
      ? [`set local lock_timeout = '${snapshot === undefined ? LOCK_TIMEOUT : SHARED_LOCK_TIMEOUT}'`]
      : []),
    ...(relation !== undefined && canLock(relation)
      ? [`lock table ${quotedRelation(relation)} in access share mode`]
      : []),
  ]
  try {
    await client.query(statements.join('; '))
  } catch (error) {
    throw isAboutSnapshot(error, snapshot) ? snapshotGone(error) : error
  }
  await client.query(LATER_SETTINGS)
  if (relation !== undefined && !canLock(relation))
    await client.query(`select from ${quotedRelation(relation)} limit 0`)
}

function canLock({ kind, selectable }: Relation): boolean {
  return (kind === 'r' || kind === 'p') && selectable
}

/** An unknown snapshot is a wrong parameter (a missing object from PostgreSQL 17 on), another database's a feature. */
function isAboutSnapshot(error: unknown, snapshot: string | undefined): boolean {
  if (snapshot === undefined || !(error instanceof Error) || !('code' in error)) return false
  return ['22023', '42704', '0A000', '55000'].includes(String(error.code))
}

function snapshotGone(cause: unknown): PoolsmithError {
  return new PoolsmithError('The snapshot of the plan is over, or of another server or database.', {
    code: 'SNAPSHOT_GONE',
    phase: 'query',
    hint: 'Keep the session that holds it open until all partitions are read, or plan again without it.',
    cause,
  })
}

async function lockTimeoutOf(client: Client): Promise<string> {
  return document<string>(client, "select to_json(pg_catalog.current_setting('lock_timeout'))::text")
}

/** A statement in the middle of its work. */
export interface Running {
  readonly settled: boolean
  discard(signal: AbortSignal): Promise<void>
}

/**
 * Ends a running statement: another session of the pool asks the server to cancel it, while what was already sent is
 * read and thrown away. Over the pool because its connections are encrypted and authenticated like this one; a cancel
 * request of the protocol's own kind would go in the clear. Returns whether the session is free again.
 */
export async function cancelStatement(engine: ExtractEngine, client: Client, running: Running): Promise<boolean> {
  const limit = AbortSignal.timeout(CANCEL_MILLIS)
  const { processID } = client as Client & { readonly processID?: number | null }
  if (typeof processID !== 'number') return false
  const asked = askToCancel(engine, processID)
  const given = await Promise.race([asked, running.discard(limit).then(() => running.settled)])
  if (!given) return running.settled
  await running.discard(limit)
  // Only when nothing can be cancelled any more is the session anybody else's.
  return (await asked) && running.settled
}

async function askToCancel(engine: ExtractEngine, processId: number): Promise<boolean> {
  try {
    const helper = (await engine.pool.acquire({ signal: AbortSignal.timeout(HELPER_MILLIS) }).promise) as Client
    try {
      await helper.query({ text: 'select pg_catalog.pg_cancel_backend($1)', values: [processId] })
      return true
    } finally {
      engine.pool.release(helper)
    }
  } catch {
    // No second connection to be had: the caller closes the first one instead, which ends the statement too.
    return false
  }
}
