/**
 * Whether rows have changed since the snapshot of another session, by the transactions that wrote them.
 *
 * Every version of a row carries the number of the transaction that wrote it (xmin), and an update writes a new version.
 * All transactions below the `xmin` of a snapshot had ended when it was taken. So a version that is visible now and was
 * written by one of these was visible then, and is the same row. Deleted rows show in the number of rows alone
 * (PostgreSQL: "System Columns", "Transaction ID and Snapshot Information Functions").
 */

import type { Changes, Choice } from '../table.ts'
import { document } from './catalogue.ts'
import type { Ground } from './ground.ts'
import { whereClause } from './sql.ts'
import { chosenRows } from './statement.ts'

/** Servers that only speak PostgreSQL's protocol may lack the functions, and a provider may take the right away. */
const HAS_CONTROL_DATA = `
select to_json(coalesce(pg_catalog.bool_and(coalesce(pg_catalog.has_function_privilege(
  pg_catalog.to_regprocedure(name)::oid, 'EXECUTE'), false)), false))::text
from pg_catalog.unnest(array['pg_catalog.pg_control_system()', 'pg_catalog.pg_control_checkpoint()',
  'pg_catalog.txid_current_snapshot()']) name`

/**
 * The server, its history (each promotion begins another one) and the snapshot: all transactions below the first number
 * had ended, none from the second on had begun.
 */
const MOMENT = `
select to_json((select system_identifier from pg_catalog.pg_control_system())::text || '/' ||
  (select timeline_id from pg_catalog.pg_control_checkpoint())::text || '/' ||
  pg_catalog.txid_current_snapshot()::text)::text`

/**
 * The session's snapshot; undefined where changes do not show by it: of a view, a query or a foreign table, under
 * row-level security, whose policies may read other tables, and where the role may not read the system's columns.
 *
 * @param isHeap whether all rows lie in heaps
 */
export async function momentOf({ client, table, catalogue }: Ground, isHeap: boolean): Promise<string | undefined> {
  if (table === undefined || !table.selectable || !isHeap || catalogue.rowSecurity) return undefined
  return (await document<boolean>(client, HAS_CONTROL_DATA)) ? document<string>(client, MOMENT) : undefined
}

interface Snapshot {
  /** System identifier and timeline. */
  readonly history: string
  readonly xmin: bigint
  readonly xmax: bigint
}

function snapshotIn(moment: string): Snapshot | undefined {
  const [, history = '', xmin = '', xmax = ''] = /^(\d+\/\d+)\/(\d{1,19}):(\d{1,19}):[\d,]*$/.exec(moment) ?? []
  return history === '' ? undefined : { history, xmin: BigInt(xmin), xmax: BigInt(xmax) }
}

/** Rows carry 32 bits of the number, so only this many transactions can be told apart. */
const COMPARABLE = 2n ** 31n

export async function changesSince(
  ground: Ground,
  moment: string,
  choices: readonly Choice[],
): Promise<Changes | undefined> {
  const { client } = ground
  const then = snapshotIn(moment)
  if (then === undefined) return undefined
  const now = snapshotIn(await document<string>(client, MOMENT))
  if (now === undefined || then.history !== now.history) return undefined
  if (now.xmax < then.xmax || now.xmax - then.xmin >= COMPARABLE) return undefined
  const { from, conditions } = chosenRows(ground, choices, ['tableoid', 'ctid', 'xmin'])
  // age() counts back from the newest transaction.
  const later = `pg_catalog.age(xmin) <= pg_catalog.age('${BigInt.asUintN(32, then.xmin)}'::pg_catalog.xid)`
  return document<Changes>(
    client,
    `select json_build_object('rows', count(*), 'later', count(*) filter (where ${later}))::text ` +
      `from ${from}${whereClause(conditions)}`,
  )
}
