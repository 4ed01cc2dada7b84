/** How the rows of a table of SQL Server are chosen and divided. */

import { isError } from '../../../any-error.ts'
import { PoolsmithError } from '../../../errors.ts'
import { printable } from '../../../printable.ts'
import { noColumn } from '../missing.ts'
import { rangesOf, WHOLE } from '../ranges.ts'
import type { BoundSql, Partition, PlanRequest, ReadPlan } from '../table.ts'
import { type CatalogueColumn, canBeSampled, exactText, readKeys } from './catalogue.ts'
import { canDivide } from './constants.ts'
import { askOne, columnOf, type Ground } from './ground.ts'
import { markCondition, planMark } from './mark.ts'
import { quoteIdentifier, sql, whereClause } from './sql.ts'

export async function planReading(
  ground: Ground,
  where: BoundSql | undefined,
  request: PlanRequest,
): Promise<ReadPlan> {
  const own = where === undefined ? [] : [where]
  // First, so that a mistake in the condition is reported before anything is read for it.
  if (where !== undefined) await checkCondition(ground, where)
  const mark = request.watermark === undefined ? undefined : await planMark(ground, own, request.watermark)
  const conditions = [...own, ...(mark === undefined ? [] : [markCondition(ground, mark.range)])]
  const { partitions, notes } = await divide(ground, conditions, request)
  return {
    conditions: own,
    mark: mark?.range,
    partitions,
    byPlace: false,
    identity: String(ground.table?.id ?? ''),
    estimatedRows: conditions.length === 0 ? ground.estimatedRows : undefined,
    notes: [...(mark?.notes ?? []), ...notes],
  }
}

/** sys.messages: an invalid column name, which is in the message only. */
const NO_COLUMN = 207
const NAME = /'([^']+)'/

async function checkCondition(ground: Ground, where: BoundSql): Promise<void> {
  const { shown, from, columns } = ground
  try {
    await askOne(ground, sql`select top (0) 1 as one from ${from}${whereClause([where])}`)
  } catch (error) {
    if (!isError(error) || !('number' in error)) throw error
    if (error.number === NO_COLUMN) {
      const name = NAME.exec(error.message)?.[1] ?? ''
      const names = columns.map((column) => column.name)
      throw noColumn(shown, name, names, quoteIdentifier, error)
    }
    if (error.number !== NO_TABLE) throw error
    throw new PoolsmithError(`\`where\` cannot be read: ${printable(error.message)}`, {
      code: 'QUERY_FAILED',
      phase: 'query',
      hint: 'The message is the server’s own: a name in the SQL is wrong.',
      details: { number: error.number },
      cause: error,
    })
  }
}

/** sys.messages: an invalid object name. */
const NO_TABLE = 208

/** In a table of more rows than this, a sample is read to find where to divide. */
const SAMPLED_ROWS = 200_000

interface Division {
  readonly partitions: readonly Partition[]
  readonly notes: readonly string[]
}

async function divide(
  ground: Ground,
  conditions: readonly BoundSql[],
  { partitions: wanted, partitionBy }: PlanRequest,
): Promise<Division> {
  if (wanted === 1) return { partitions: WHOLE, notes: [] }
  const { ask, table, columns } = ground
  if (partitionBy !== undefined) {
    const column = columnOf(ground, partitionBy)
    if (!canDivide(column)) throw indivisible(ground, column)
    return { partitions: await byKey(ground, column, conditions, wanted), notes: [] }
  }
  const leading = table?.isTable ? (await readKeys(ask, table)).leading : undefined
  const column = columns.find(({ name }) => name === leading)
  if (column !== undefined && canDivide(column)) {
    return { partitions: await byKey(ground, column, conditions, wanted), notes: [] }
  }
  return { partitions: WHOLE, notes: ['One part: there is no key to divide by. `partitionBy` names a column.'] }
}

/**
 * Ranges of a column's values with about the same number of rows in each; rows without a value are in the first. Of a
 * large table a sample of its pages is read.
 */
async function byKey(
  ground: Ground,
  column: CatalogueColumn,
  conditions: readonly BoundSql[],
  partitions: number,
): Promise<readonly Partition[]> {
  const { ask, before, from, table, estimatedRows = 0 } = ground
  const name = quoteIdentifier(column.name)
  const isLarge = table?.isTable && estimatedRows > SAMPLED_ROWS && (await canBeSampled(ask, table))
  const percent = ((100 * SAMPLED_ROWS) / estimatedRows).toFixed(6)
  const rows = sql`${from}${isLarge ? ` tablesample system (${percent} percent) repeatable (1)` : ''}${whereClause([
    ...conditions,
    sql`${name} is not null`,
  ])}`
  const count = Number(await askOne(ground, sql`select count_big(*) from ${rows}`))
  const wanted = Array.from(
    { length: partitions - 1 },
    (_, index) => Math.floor((count * (index + 1)) / partitions) + 1,
  )
  const value = column.type === 'timestamp' ? `cast(${name} as binary(8))` : name
  const found = await ask(
    sql`${before}select q.mark from (select ${value} as mark, row_number() over (order by ${name}) as place from ${rows}) q where q.place in (${[...new Set(wanted)].join(', ')}) order by q.place`,
  )
  const bounds = [...new Set(found.map(([bound]) => exactText(bound)))]
  return rangesOf(column.name, bounds)
}

function indivisible({ shown }: Ground, column: CatalogueColumn): PoolsmithError {
  return new PoolsmithError(
    `${shown} cannot be divided by ${quoteIdentifier(column.name)}, which is of type ${column.declared}.`,
    {
      code: 'CONFIG_INVALID',
      phase: 'config',
      hint: 'Name a column of numbers, moments, texts, bytes or uniqueidentifiers in partitionBy.',
      details: { column: column.name },
    },
  )
}
