/** Checks of a plan that comes from a file or from another program. */

import { PoolsmithError } from '../errors.ts'
import { printable } from '../printable.ts'
import { EXTRACT_FORMATS } from './formats.ts'
import {
  type Form,
  isColumn,
  isCount,
  isInstant,
  isName,
  isRecord,
  isSha256,
  isText,
  isUuid,
  leaf,
  listOf,
  nullOr,
  optionally,
  recordOf,
} from './json-checks.ts'
import { MOST_PARTITIONS } from './options.ts'
import { checksumOf, type ExtractPlan, PLAN_VERSION } from './plan.ts'
import { type BoundValue, DECIMAL_FORMS, type Watermark } from './read/table.ts'
import { PARQUET_COMPRESSIONS } from './sinks/format.ts'

/**
 * Checks the version, the checksum and the form of every member, before any of them becomes a part of a path, a file
 * name or a statement. The error names the member, and repeats no value of it: a condition may contain anything.
 *
 * @throws PoolsmithError PLAN_INVALID
 */
export function checkPlan(plan: unknown): asserts plan is ExtractPlan {
  if (!isRecord(plan)) throw badPlan('it is not an object')
  if (plan.version !== PLAN_VERSION) {
    const { version } = plan
    const given = typeof version === 'number' ? `of version ${version}` : 'without a version'
    throw badPlan(`it is ${given}, and not of version ${PLAN_VERSION}`)
  }
  const { checksum, snapshot: _, ...content } = plan
  if (!hasChecksum(content, checksum)) throw badPlan('it was changed after it was written')
  const path = PLAN(plan)
  if (path !== undefined) throw badPlan(`\`${path.slice(1)}\` has a wrong form`)
}

/** @throws PoolsmithError PLAN_INVALID */
export function parsePlan(text: string): ExtractPlan {
  let plan: unknown
  try {
    plan = JSON.parse(text)
  } catch {
    // The parser's message repeats a piece of the text, which may be a condition with a secret.
    throw badPlan('it is not whole JSON')
  }
  checkPlan(plan)
  return plan
}

function hasChecksum(content: unknown, checksum: unknown): boolean {
  try {
    return checksumOf(content) === checksum
  } catch {
    // Of an object in memory: what JSON does not take was not in the plan.
    return false
  }
}

/** @throws PoolsmithError PLAN_INVALID when the plan has no partition of this number */
export function checkPartition({ partitions: { length } }: ExtractPlan, number: unknown): asserts number is number {
  if (isCount(number) && number < length) return
  const given = typeof number === 'number' || typeof number === 'string' ? printable(String(number)) : typeof number
  throw badPlan(`it has the partitions 0 to ${length - 1}, and not ${given}`)
}

export function badPlan(what: string): PoolsmithError {
  return new PoolsmithError(`The plan cannot be used: ${what}.`, {
    code: 'PLAN_INVALID',
    phase: 'config',
    hint: 'Plan again, and pass the plan on unchanged.',
  })
}

const BOUND_TYPES: readonly BoundValue['type'][] = [
  'bigint',
  'float',
  'bit',
  'datetime2',
  'varbinary',
  'nvarchar',
  'varchar',
]

/** Digits of SHA-256; one database writes capital letters, the other small ones. */
const HASH = /^[0-9a-fA-F]{16}$/
const PLACE = /^\d{1,10}\(\d{1,10},\d{1,5}\)$/

const isHash = (value: unknown): value is string => isText(value) && HASH.test(value)

const text = leaf(isText)
const name = leaf(isName)
const count = leaf(isCount)
const amount = leaf((value) => isCount(value) && value > 0)
const flag = leaf((value) => typeof value === 'boolean')
const names = listOf(name)
const hashes = nullOr(listOf(leaf(isHash)))
const oneOf = (known: readonly unknown[]): Form => leaf((value) => known.includes(value))

const boundSql = recordOf({
  sql: text,
  values: listOf(recordOf({ type: oneOf(BOUND_TYPES), value: nullOr(text) })),
})
const condition: Form = (value) => (isText(value) ? undefined : boundSql(value))

const pages = recordOf({ from: count, to: nullOr(count) })
const PART_ROWS: Readonly<Record<string, Form>> = {
  pages,
  tables: listOf(recordOf({ schema: name, name, pages: nullOr(pages) }), (length) => length > 0),
  range: recordOf({ column: name, from: nullOr(text), to: nullOr(text) }),
}

const partRows: Form = (value) => {
  const [kind = '', ...more] = isRecord(value) ? Object.keys(value) : []
  const form = more.length === 0 && Object.hasOwn(PART_ROWS, kind) ? PART_ROWS[kind] : undefined
  return form === undefined ? '' : recordOf({ [kind]: form })(value)
}

const watermark = {
  column: name,
  type: name,
  high: nullOr(text),
  identity: names,
  rows: hashes,
}
const since = recordOf({
  high: text,
  identity: names,
  rows: hashes,
  copies: listOf(leaf((value) => isText(value) && PLACE.test(value))),
})

const PLAN = recordOf({
  version: oneOf([PLAN_VERSION]),
  batchId: leaf(isUuid),
  plannedAt: leaf(isInstant),
  extractedAt: leaf(isInstant),
  source: name,
  fingerprint: recordOf({ system: text, database: name, table: text }),
  schema: name,
  table: name,
  query: optionally(condition),
  format: oneOf([...EXTRACT_FORMATS, 'batches']),
  columns: listOf(leaf(isColumn)),
  options: recordOf({
    columns: optionally(names),
    asText: optionally(names),
    asBytes: optionally(names),
    decimals: optionally(oneOf(DECIMAL_FORMS)),
    rowHash: optionally(flag),
    guardFormulas: optionally(flag),
    batchRows: optionally(amount),
    batchBytes: optionally(amount),
    rowGroupBytes: optionally(amount),
    compression: optionally(oneOf(PARQUET_COMPRESSIONS)),
  } satisfies Record<keyof ExtractPlan['options'], Form>),
  request: leaf(isSha256),
  conditions: listOf(condition),
  watermark: optionally(recordOf({ ...watermark, after: nullOr(text), since: nullOr(since), isEmpty: flag })),
  partitions: listOf(
    recordOf({ label: text, rows: nullOr(partRows) }),
    (length) => length >= 1 && length <= MOST_PARTITIONS,
  ),
  byPlace: flag,
  identity: text,
  moment: optionally(name),
  estimatedRows: optionally(leaf((value) => typeof value === 'number' && value >= 0)),
  notes: listOf(text),
  checksum: leaf(isSha256),
  snapshot: optionally(name),
} satisfies Record<keyof ExtractPlan, Form>)

/** Also what a state file keeps. */
export function isWatermark(value: unknown): value is Watermark {
  return recordOf(watermark)(value) === undefined
}
