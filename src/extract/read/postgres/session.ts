/** One session of an extract: a read-only transaction in which every setting that changes text is fixed. */

import type { Client } from 'pg'
import { errorCode } from '../../../any-error.ts'
import { cancelClient } from '../../../drivers/postgres/cancel-client.ts'
import { PoolsmithError } from '../../../errors.ts'
import { type CatalogueTable, document } from './catalogue.ts'
import { quotedTable, quoteText } from './sql.ts'

/** How long a lock of another session is waited for, when the session has no `lock_timeout`. */
const LOCK_TIMEOUT = '60s'
/**
 * The same for a session on the snapshot of another one, which holds the lock. A session that waits in the queue
 * between the two would wait for the first, and this one for it.
 */
const SHARED_LOCK_TIMEOUT = '3s'
/** How long the server may take to end a cancelled statement. */
const CANCEL_MILLIS = 5000

/**
 * Settings of the transaction: text as `psql` shows it by default, but in UTC; shortest exact floats (17 digits before
 * PostgreSQL 12); rows in the table's order; no time limit that ends a long copy.
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
  // Literals are written by these rules (sql.ts).
  'standard_conforming_strings = on',
]

/** `transaction_timeout` came with PostgreSQL 17. */
const LATER_SETTINGS = `
select pg_catalog.set_config(name, '0', true) from pg_catalog.pg_settings where name = 'transaction_timeout'`

/**
 * Begins the transaction, and locks the table against being altered before the snapshot is taken: a table that is
 * rewritten between the two would look empty. LOCK TABLE takes no snapshot. Where it is not allowed (views, or a
 * privilege on some columns only), a statement that reads no row takes the lock right after the snapshot, before the
 * columns' types are looked up.
 *
 * @param table undefined for a query
 * @param snapshot of another session, which holds the lock already
 * @throws PoolsmithError SNAPSHOT_GONE
 */
export async function beginSnapshot(
  client: Client,
  table: CatalogueTable | undefined,
  snapshot?: string,
): Promise<void> {
  const lockTimeout = table?.lockTimeout ?? (await lockTimeoutOf(client))
  const statements = [
    'begin transaction isolation level repeatable read read only',
    // It must be the first statement of the transaction.
    ...(snapshot === undefined ? [] : [`set transaction snapshot ${quoteText(snapshot)}`]),
    ...SETTINGS.map((setting) => `set local ${setting}`),
    ...(lockTimeout === '0'
      ? [`set local lock_timeout = '${snapshot === undefined ? LOCK_TIMEOUT : SHARED_LOCK_TIMEOUT}'`]
      : []),
    ...(table !== undefined && canLock(table) ? [`lock table ${quotedTable(table)} in access share mode`] : []),
  ]
  try {
    await client.query(statements.join('; '))
  } catch (error) {
    throw isAboutSnapshot(error, snapshot) ? snapshotGone(error) : error
  }
  await client.query(LATER_SETTINGS)
  if (table !== undefined && !canLock(table)) await client.query(`select from ${quotedTable(table)} limit 0`)
}

function canLock({ kind, selectable }: CatalogueTable): boolean {
  return (kind === 'r' || kind === 'p') && selectable
}

/** PostgreSQL's codes for an unknown snapshot (22023; 42704 from 17 on), and for one of another database (0A000). */
function isAboutSnapshot(error: unknown, snapshot: string | undefined): boolean {
  return snapshot !== undefined && ['22023', '42704', '0A000', '55000'].includes(errorCode(error) ?? '')
}

function snapshotGone(cause: unknown): PoolsmithError {
  return new PoolsmithError('The snapshot of the plan does not exist any more, or is of another server or database.', {
    code: 'SNAPSHOT_GONE',
    phase: 'query',
    hint: 'Keep the session that holds it open until all partitions are read, or plan again without it.',
    cause,
  })
}

async function lockTimeoutOf(client: Client): Promise<string> {
  return document<string>(client, "select to_json(pg_catalog.current_setting('lock_timeout'))::text")
}

/** A statement that runs. */
export interface Running {
  readonly settled: boolean
  /** Drops all that still comes, until the server has ended the statement or the signal aborts. */
  discard(signal: AbortSignal): Promise<void>
}

/**
 * Ends a running statement by a cancel request, while the rows that were already sent are read and dropped.
 *
 * @returns whether the session is free again
 */
export async function cancelStatement(client: Client, running: Running): Promise<boolean> {
  const limit = AbortSignal.timeout(CANCEL_MILLIS)
  const asked = askToCancel(client, limit)
  const given = await Promise.race([asked, running.discard(limit).then(() => running.settled)])
  if (!given) return running.settled
  await running.discard(limit)
  // The request must have been answered too: a later one would cancel a statement of the next user of the session.
  return (await asked) && running.settled
}

async function askToCancel(client: Client, limit: AbortSignal): Promise<boolean> {
  try {
    return await cancelClient(client, limit)
  } catch {
    // The caller closes the session instead, which ends the statement too.
    return false
  }
}
