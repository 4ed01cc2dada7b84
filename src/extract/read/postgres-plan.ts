/** How the rows of a table are chosen and divided, settled against one snapshot. */

import { type CatalogueColumn, document, noColumn, quoteIdentifier } from './postgres-catalogue.ts'
import { wrongSql } from './postgres-failures.ts'
import { columnOf, type Ground, typeName, whereClause } from './postgres-ground.ts'
import { quoteText } from './postgres-literals.ts'
import { planMark } from './postgres-mark.ts'
import type { Partition, PlanRequest, ReadPlan } from './reader.ts'

export async function planReading(ground: Ground, where: string | undefined, request: PlanRequest): Promise<ReadPlan> {
  const own = where === undefined ? [] : [where]
  // First of all: what is wrong with the condition is said before anything is read for it.
  const ownRows = own.length === 0 ? undefined : await plannedRows(ground, own)
  const mark = request.watermark === undefined ? undefined : await planMark(ground, own, request.watermark)
  const conditions = [...own, ...(mark === undefined ? [] : [mark.condition])]
  const isAll = conditions.length === 0 && ground.relation !== undefined
  const storage = await storageOf(ground)
  const { byPlace, partitions } = await divide(ground, conditions, request, storage)
  return {
    conditions: own,
    partitions,
    byPlace,
    identity: storage.identity,
    mark: mark === undefined ? undefined : { condition: mark.condition, after: mark.after, watermark: mark.watermark },
    estimatedRows: isAll
      ? (ground.catalogue.estimatedRows ?? undefined)
      : mark === undefined && ownRows !== undefined
        ? ownRows
        : await plannedRows(ground, conditions),
    notes: mark?.notes ?? [],
  }
}

/** The planner's estimate; it also says whether the conditions can be understood at all. */
async function plannedRows(ground: Ground, conditions: readonly string[]): Promise<number> {
  const { client, catalogue, from, shown } = ground
  try {
    const [plan] = await document<{ Plan: { 'Plan Rows': number } }[]>(
      client,
      `explain (format json) select from ${from}${whereClause(conditions)}`,
    )
    return plan?.Plan['Plan Rows'] ?? 0
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === '42703') {
      // The name stands in the message only.
      const name = /"([^"]+)"|\s([\w.]+)\s/.exec(error.message)
      const column = (name?.[1] ?? name?.[2] ?? '').split('.').at(-1) ?? ''
      throw noColumn(
        shown,
        column,
        catalogue.columns.map((candidate) => candidate.name),
      )
    }
    throw wrongSql(error, '`where`')
  }
}

interface Storage {
  /** Whether every part of the table is an ordinary heap, whose rows have a place. */
  readonly heap: boolean
  /** Of each part. */
  readonly pages: readonly number[]
  readonly version: number
  /** Changes when the table, or a part of it, is rewritten. */
  readonly identity: string
  /** The only column of the primary key. */
  readonly key: string | null
}

const STORAGE = `
with recursive parts(oid) as (
  select $1::oid
  union
  select i.inhrelid from parts p join pg_catalog.pg_inherits i on i.inhparent = p.oid
), leaves as (
  select c.oid, c.relkind, c.relam, pg_catalog.pg_relation_filenode(c.oid) as node,
    case when c.relkind in ('r', 'm')
      then pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::int8 else 0 end as pages
  from parts p join pg_catalog.pg_class c on c.oid = p.oid where c.relkind not in ('p', 'i', 'I')
)
select json_build_object(
  'heap', (select coalesce(bool_and(relkind in ('r', 'm') and relam = 2), false) from leaves),
  'pages', (select coalesce(json_agg(pages order by oid), '[]') from leaves),
  'version', pg_catalog.current_setting('server_version_num')::int4,
  'identity', (select $1::text || ':' || coalesce(string_agg(coalesce(node, 0)::text, ',' order by oid), '') from leaves),
  'key', (select a.attname
    from pg_catalog.pg_index i join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
    where i.indrelid = $1::oid and i.indisprimary and i.indnkeyatts = 1)
)::text`

async function storageOf({ client, relation }: Ground): Promise<Storage> {
  return document<Storage>(client, STORAGE, [relation?.oid ?? 0])
}

/** The first version that reads a range of places without passing over the rest of the table. */
const CTID_RANGES = 140_000

interface Division {
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
  if (wanted === 1) return { byPlace: false, partitions: WHOLE }
  if (partitionBy === undefined && storage.heap && storage.version >= CTID_RANGES) {
    return { byPlace: true, partitions: byPages(storage.pages, wanted) }
  }
  const key = partitionBy ?? (storage.heap ? storage.key : null)
  if (key === null) return { byPlace: false, partitions: WHOLE }
  return { byPlace: false, partitions: await byKey(ground, columnOf(ground, key), conditions, wanted, storage) }
}

const WHOLE: readonly Partition[] = [{ label: 'all rows', condition: null }]

/**
 * Ranges of places in the table's files, the same in each of its parts, with about as many pages in each range. Every
 * row has one place, so that every row is in one range; the last one has no end, for rows that are added meanwhile.
 */
export function byPages(pages: readonly number[], partitions: number): readonly Partition[] {
  const total = pages.reduce((sum, count) => sum + count, 0)
  const bounds: number[] = []
  for (let part = 1; part < partitions; part += 1) {
    const bound = boundAt(pages, (total * part) / partitions)
    if (bound > (bounds.at(-1) ?? 0) && bound < Math.max(...pages)) bounds.push(bound)
  }
  const place = (page: number): string => `'(${page},0)'::pg_catalog.tid`
  return ranges(bounds, {
    label: (from, to) => `pages ${from ?? 0} to ${to === undefined ? 'the end' : to - 1}`,
    condition: (from, to) =>
      [
        ...(from === undefined ? [] : [`ctid >= ${place(from)}`]),
        ...(to === undefined ? [] : [`ctid < ${place(to)}`]),
      ].join(' and '),
  })
}

/** The smallest page number below which the parts together have so many pages. */
function boundAt(pages: readonly number[], wanted: number): number {
  let low = 0
  let high = Math.max(0, ...pages)
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    const below = pages.reduce((sum, count) => sum + Math.min(count, middle), 0)
    if (below >= wanted) high = middle
    else low = middle + 1
  }
  return low
}

/** More pages than this are not all looked at to find where to divide. */
const SAMPLED_PAGES = 5000

/** Ranges of a column's values with about as many rows in each; rows without a value are in the first. */
async function byKey(
  ground: Ground,
  column: CatalogueColumn,
  conditions: readonly string[],
  partitions: number,
  storage: Storage,
): Promise<readonly Partition[]> {
  const { client, from, relation } = ground
  const name = quoteIdentifier(column.name)
  const shares = Array.from({ length: partitions - 1 }, (_, index) => (index + 1) / partitions)
  const pages = storage.pages.reduce((sum, count) => sum + count, 0)
  const isSampled = relation !== undefined && storage.heap && pages > SAMPLED_PAGES
  const sample = isSampled ? ` tablesample system (${(100 * SAMPLED_PAGES) / pages}) repeatable (0)` : ''
  const found = await document<(string | null)[] | null>(
    client,
    `select array_to_json((percentile_disc(array[${shares.join(', ')}]::float8[]) within group (order by ${name}))` +
      `::pg_catalog.text[])::text from ${from}${sample}${whereClause([...conditions, `${name} is not null`])}`,
  )
  const type = typeName(ground.catalogue, column)
  const bounds = [...new Set(found ?? [])].filter((bound) => bound !== null)
  const constant = (value: string): string => `${quoteText(value)}::${type}`
  return ranges(bounds, {
    label: (low, high) =>
      [
        ...(low === undefined ? [] : [`from ${column.name} ${low}`]),
        ...(high === undefined ? [] : [`below ${column.name} ${high}`]),
      ].join(' '),
    condition: (low, high) =>
      low === undefined
        ? `${name} < ${constant(high ?? '')} or ${name} is null`
        : [`${name} >= ${constant(low)}`, ...(high === undefined ? [] : [`${name} < ${constant(high)}`])].join(' and '),
  })
}

function ranges<Bound>(
  bounds: readonly Bound[],
  write: Record<'label' | 'condition', (from: Bound | undefined, to: Bound | undefined) => string>,
): readonly Partition[] {
  if (bounds.length === 0) return WHOLE
  const ends = [undefined, ...bounds, undefined]
  return ends.slice(1).map((to, index) => {
    const from = ends[index]
    return { label: write.label(from, to), condition: write.condition(from, to) }
  })
}
