/** Checks of a plan that comes from a file or from another program. */

import { PoolsmithError } from '../errors.ts'
import { EXTRACT_FORMATS } from './formats.ts'
import {
  isColumn,
  isCount,
  isInstant,
  isListOf,
  isName,
  isNullOr,
  isOptional,
  isRecord,
  isSha256,
  isText,
  isUuid,
} from './json-checks.ts'
import { MOST_PARTITIONS } from './options.ts'
import { checksumOf, type ExtractPlan, PLAN_VERSION } from './plan.ts'
import type {
  BoundSql,
  BoundValue,
  Condition,
  MarkSince,
  PageRange,
  Partition,
  PartRows,
  TableSlice,
  Watermark,
} from './read/table.ts'
import { PARQUET_COMPRESSIONS } from './sinks/format.ts'

/**
 * Checks the version, the checksum and the form of every member, before any of them becomes a part of a path, a file
 * name or a statement.
 *
 * @throws PoolsmithError PLAN_INVALID
 */
export function checkPlan(plan: unknown, partition: number): asserts plan is ExtractPlan {
  if (!isRecord(plan)) throw badPlan('it is not an object')
  if (plan.version !== PLAN_VERSION) {
    throw badPlan(`it is of version ${JSON.stringify(plan.version)}, not ${PLAN_VERSION}`)
  }
  const { checksum, snapshot, ...content } = plan
  if (checksumOf(content) !== checksum) throw badPlan('it was changed after it was written')
  const wrong = Object.entries(MEMBERS).find(([name, isRight]) => !isRight(plan[name]))
  if (wrong !== undefined) throw badPlan(`\`${wrong[0]}\` has a wrong form`)
  const { length } = (plan as unknown as ExtractPlan).partitions
  if (!Number.isInteger(partition) || partition < 0 || partition >= length) {
    throw badPlan(`it has the partitions 0 to ${length - 1}, and not ${partition}`)
  }
}

export function badPlan(what: string, cause?: unknown): PoolsmithError {
  return new PoolsmithError(`The plan cannot be used: ${what}.`, {
    code: 'PLAN_INVALID',
    phase: 'config',
    hint: 'Plan again, and pass the plan on unchanged.',
    cause,
  })
}

const isBoolean = (value: unknown): value is boolean => typeof value === 'boolean'
const isAmount = (value: unknown): value is number => isCount(value) && value > 0

const MEMBERS: Readonly<Record<keyof ExtractPlan, (value: unknown) => boolean>> = {
  version: (value) => value === PLAN_VERSION,
  batchId: isUuid,
  plannedAt: isInstant,
  extractedAt: isInstant,
  source: isName,
  schema: isName,
  table: isName,
  query: (value) => isOptional(value, isCondition),
  format: (value) => [...EXTRACT_FORMATS, 'batches'].some((format) => format === value),
  columns: (value) => isListOf(value, isColumn),
  options: (value) =>
    isRecord(value) &&
    isOptional(value.columns, isNames) &&
    isOptional(value.asText, isNames) &&
    isOptional(value.rowHash, isBoolean) &&
    isOptional(value.guardFormulas, isBoolean) &&
    [value.batchRows, value.batchBytes, value.rowGroupBytes].every((amount) => isOptional(amount, isAmount)) &&
    (value.compression === undefined || PARQUET_COMPRESSIONS.some((known) => known === value.compression)),
  conditions: (value) => isListOf(value, isCondition),
  watermark: (value) =>
    value === undefined ||
    (isWatermark(value) &&
      'after' in value &&
      isNullOr(value.after, isText) &&
      'since' in value &&
      isNullOr(value.since, isSince) &&
      'isEmpty' in value &&
      isBoolean(value.isEmpty)),
  partitions: (value) => isListOf(value, isPartition) && value.length >= 1 && value.length <= MOST_PARTITIONS,
  byPlace: isBoolean,
  identity: isText,
  estimatedRows: (value) => value === undefined || (typeof value === 'number' && value >= 0),
  notes: (value) => isListOf(value, isText),
  checksum: isSha256,
  snapshot: (value) => isOptional(value, isName),
}

const isNames = (value: unknown): value is readonly string[] => isListOf(value, isName)

const BOUND_TYPES: readonly BoundValue['type'][] = ['bigint', 'float', 'bit', 'datetime2', 'varbinary', 'nvarchar']

const isBoundValue = (value: unknown): value is BoundValue =>
  isRecord(value) && BOUND_TYPES.some((type) => type === value.type) && isNullOr(value.value, isText)

const isBoundSql = (value: unknown): value is BoundSql =>
  isRecord(value) && isText(value.sql) && isListOf(value.values, isBoundValue)

const isCondition = (value: unknown): value is Condition => isText(value) || isBoundSql(value)

/** Digits of SHA-256; one database writes capital letters, the other small ones. */
const HASH = /^[0-9a-fA-F]{16}$/
const PLACE = /^\d{1,10}\(\d{1,10},\d{1,5}\)$/

const isHash = (value: unknown): value is string => isText(value) && HASH.test(value)
const isPlace = (value: unknown): value is string => isText(value) && PLACE.test(value)
const isHashes = (value: unknown): value is readonly string[] => isListOf(value, isHash)

/** Also what a state file keeps. */
export function isWatermark(value: unknown): value is Watermark {
  return (
    isRecord(value) &&
    isName(value.column) &&
    isName(value.type) &&
    isNullOr(value.high, isText) &&
    isNames(value.identity) &&
    isNullOr(value.rows, isHashes)
  )
}

const isSince = (value: unknown): value is MarkSince =>
  isRecord(value) &&
  isText(value.high) &&
  isNames(value.identity) &&
  isNullOr(value.rows, isHashes) &&
  isListOf(value.copies, isPlace)

const isPages = (value: unknown): value is PageRange =>
  isRecord(value) && isCount(value.from) && isNullOr(value.to, isCount)

const isSlice = (value: unknown): value is TableSlice =>
  isRecord(value) && isName(value.schema) && isName(value.name) && isNullOr(value.pages, isPages)

const isPartition = (value: unknown): value is Partition =>
  isRecord(value) && isText(value.label) && isNullOr(value.rows, isPartRows)

function isPartRows(value: unknown): value is PartRows {
  if (!isRecord(value) || Object.keys(value).length !== 1) return false
  const { pages, tables, range } = value
  if (pages !== undefined) return isPages(pages)
  if (tables !== undefined) return isListOf(tables, isSlice) && tables.length > 0
  return isRecord(range) && isName(range.column) && isNullOr(range.from, isText) && isNullOr(range.to, isText)
}
