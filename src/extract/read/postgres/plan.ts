/** How the rows of a table are chosen and divided, on one snapshot. */

import { errorCode, errorText } from '../../../any-error.ts'
import { noColumn } from '../missing.ts'
import { rangesOf, WHOLE } from '../ranges.ts'
import type { Partition, PlanRequest, ReadPlan } from '../table.ts'
import { type CatalogueColumn, document } from './catalogue.ts'
import { momentOf } from './changes.ts'
import { wrongSql } from './failures.ts'
import { columnOf, type Ground } from './ground.ts'
import { markCondition, planMark } from './mark.ts'
import { byLeaves, byPages, type Leaf } from './places.ts'
import { quoteIdentifier, whereClause } from './sql.ts'

export async function planReading(ground: Ground, where: string | undefined, request: PlanRequest): Promise<ReadPlan> {
  const own = where === undefined ? [] : [where]
  // First, so that a mistake in the condition is reported before anything is read for it.
  const ownRows = own.length === 0 ? undefined : await plannedRows(ground, own)
  const storage = await storageOf(ground)
  const mark =
    request.watermark === undefined
      ? undefined
      : await planMark(ground, own, request.watermark, hasPlaces(ground, storage))
  const conditions = [...own, ...(mark === undefined ? [] : [markCondition(ground, mark.range)])]
  const isAll = conditions.length === 0 && ground.table !== undefined
  const { byPlace, partitions, notes } = await divide(ground, conditions, request, storage)
  return {
    conditions: own,
    partitions,
    byPlace,
    identity: storage.identity,
    moment: own.length > 0 && mark === undefined ? undefined : await momentOf(ground, isAllHeap(storage)),
    mark: mark?.range,
    estimatedRows: isAll
      ? (ground.catalogue.estimatedRows ?? undefined)
      : mark === undefined && ownRows !== undefined
        ? ownRows
        : await plannedRows(ground, conditions),
    notes: [...(mark?.notes ?? []), ...notes],
  }
}

/** The planner's estimate. It also checks that the server understands the conditions. */
async function plannedRows(ground: Ground, conditions: readonly string[]): Promise<number> {
  const { client, catalogue, from, shown } = ground
  try {
    const [plan] = await document<{ Plan: { 'Plan Rows': number } }[]>(
      client,
      `explain (format json) select from ${from}${whereClause(conditions)}`,
    )
    return plan?.Plan['Plan Rows'] ?? 0
  } catch (error) {
    if (errorCode(error) === '42703') {
      // The name is in the message only.
      const name = /"([^"]+)"|\s([\w.]+)\s/.exec(errorText(error))
      const column = (name?.[1] ?? name?.[2] ?? '').split('.').at(-1) ?? ''
      const names = catalogue.columns.map((candidate) => candidate.name)
      throw noColumn(shown, column, names, quoteIdentifier)
    }
    throw wrongSql(error, '`where`')
  }
}

interface Storage {
  /**
   * The tables that hold the rows: the table itself, those that inherit from it, the partitions of a partitioned one.
   */
  readonly leaves: readonly (Leaf & { readonly readable: boolean })[]
  /** Whether it consists of other tables, which can be read in its place. */
  readonly composed: boolean
  readonly version: number
  /** Changes when the table, or a part of it, is rewritten. */
  readonly identity: string
  /** The only column of the primary key, where the role may read it. */
  readonly key: string | null
}

/**
 * A leaf can be read in the table's place when the role may read it, no row-level policy applies to it, and no column
 * is computed while it is read, because a leaf may compute it in another way. The pages of a foreign table are those of
 * its last ANALYZE.
 */
const STORAGE = `
with recursive parts(oid) as (
  select $1::oid
  union
  select i.inhrelid from parts p join pg_catalog.pg_inherits i on i.inhparent = p.oid
), leaves as (
  select c.oid, c.relkind, n.nspname, c.relname, pg_catalog.pg_relation_filenode(c.oid) as node,
    c.relkind in ('r', 'm') and c.relam = 2 as heap,
    case when c.relkind in ('r', 'm')
      then pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::int8
      else greatest(c.relpages, 1) end as pages,
    pg_catalog.has_schema_privilege(n.oid, 'USAGE') and pg_catalog.has_table_privilege(c.oid, 'SELECT')
      and not pg_catalog.row_security_active(c.oid) as readable
  from parts p join pg_catalog.pg_class c on c.oid = p.oid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.relkind not in ('p', 'i', 'I')
)
select json_build_object(
  'leaves', (select coalesce(json_agg(json_build_object(
    'schema', nspname, 'name', relname, 'pages', pages, 'heap', heap, 'readable', readable) order by oid), '[]') from leaves),
  'composed', (select count(*) > 1 from parts) and not exists (
    select from pg_catalog.pg_attribute a where a.attrelid = $1::oid and to_jsonb(a) ->> 'attgenerated' = 'v'),
  'version', pg_catalog.current_setting('server_version_num')::int4,
  'identity', (select $1::text || ':' || coalesce(string_agg(coalesce(node, 0)::text, ',' order by oid), '') from leaves),
  'key', (select a.attname
    from pg_catalog.pg_index i join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
    where i.indrelid = $1::oid and i.indisprimary and i.indnkeyatts = 1
      and pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'SELECT'))
)::text`

async function storageOf({ client, table }: Ground): Promise<Storage> {
  return document<Storage>(client, STORAGE, [table?.oid ?? 0])
}

/** The first version that reads a range of pages without reading the rest of the table. */
const CTID_RANGES = 140_000

interface Division {
  readonly notes: readonly string[]
  readonly byPlace: boolean
  readonly partitions: readonly Partition[]
}

async function divide(
  ground: Ground,
  conditions: readonly string[],
  request: PlanRequest,
  storage: Storage,
): Promise<Division> {
  const { partitions: wanted, partitionBy } = request
  const { leaves, composed, version, key } = storage
  if (wanted === 1) return { byPlace: false, partitions: WHOLE, notes: [] }
  const isHeap = isAllHeap(storage)
  const hasRanges = version >= CTID_RANGES
  const placed = hasPlaces(ground, storage)
  if (partitionBy === undefined) {
    const isReadable = composed && !ground.catalogue.rowSecurity && leaves.every(({ readable }) => readable)
    if (isReadable) {
      const cut = leaves.map((leaf) => ({ ...leaf, heap: leaf.heap && hasRanges }))
      return { byPlace: true, partitions: byLeaves(cut, wanted), notes: [] }
    }
    if (placed && hasRanges) {
      const pages = leaves.map((leaf) => leaf.pages)
      return { byPlace: true, partitions: byPages(pages, wanted), notes: [] }
    }
  }
  const by = partitionBy ?? (isHeap ? key : null)
  if (by === null) {
    const notes = [
      'One part: there are neither pages nor a key of one column that the role may read to divide by. `partitionBy` ' +
        'names a column.',
    ]
    return { byPlace: false, partitions: WHOLE, notes }
  }
  const partitions = await byKey(ground, columnOf(ground, by), conditions, wanted, storage)
  return { byPlace: false, partitions, notes: [] }
}

/** A role that may read some columns only may not read the places of rows. */
function hasPlaces({ table }: Ground, storage: Storage): boolean {
  return isAllHeap(storage) && table?.selectable === true
}

function isAllHeap({ leaves }: Storage): boolean {
  return leaves.length > 0 && leaves.every(({ heap }) => heap)
}

/** In a table of more pages than this, a sample is read to find where to divide. */
const SAMPLED_PAGES = 5000

/** Ranges of a column's values with about the same number of rows in each; rows without a value are in the first. */
async function byKey(
  ground: Ground,
  column: CatalogueColumn,
  conditions: readonly string[],
  partitions: number,
  storage: Storage,
): Promise<readonly Partition[]> {
  const { client, from, table } = ground
  const name = quoteIdentifier(column.name)
  const shares = Array.from({ length: partitions - 1 }, (_, index) => (index + 1) / partitions)
  const pages = storage.leaves.reduce((sum, leaf) => sum + leaf.pages, 0)
  const isSampled = table !== undefined && isAllHeap(storage) && pages > SAMPLED_PAGES
  const sample = isSampled ? ` tablesample system (${(100 * SAMPLED_PAGES) / pages}) repeatable (0)` : ''
  const found = await document<(string | null)[] | null>(
    client,
    `select array_to_json((percentile_disc(array[${shares.join(', ')}]::float8[]) within group (order by ${name}))` +
      `::pg_catalog.text[])::text from ${from}${sample}${whereClause([...conditions, `${name} is not null`])}`,
  )
  const bounds = [...new Set(found ?? [])].filter((bound) => bound !== null)
  return rangesOf(column.name, bounds)
}
