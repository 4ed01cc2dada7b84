/**
 * The watermark of an incremental extract: the rows that came after the last run, up to the highest mark that is seen
 * now. The rules are the same for every database; a database answers the questions.
 *
 * The run remembers all rows that have the highest mark by a hash each, and of that mark it reads only these, also
 * where its parts are read later than they were planned. A row that is committed later with the same mark is not among
 * them, and so the next run reads it.
 */

import { types } from 'node:util'
import { PoolsmithError } from '../../errors.ts'
import type { MarkRange, MarkSince, MarkValue, PlanRequest, Watermark } from './table.ts'

type MarkRequest = NonNullable<PlanRequest['watermark']>

export interface PlannedMark {
  readonly range: MarkRange
  readonly notes: readonly string[]
}

/** A value of the column, as the database writes it. */
export interface TypedMark {
  readonly text: string
  /** Whether it had more digits than the type: they are cut off, and no value of the type lies between the two. */
  readonly isCut: boolean
}

/** The last mark, and the rows with it that were read. */
export interface ReadMark {
  readonly high: string
  readonly identity: readonly string[]
  readonly rows: readonly string[]
}

/** The questions of the rules to a database about one column of one table or query. */
export interface MarkQuestions {
  /** The table or query, as errors name it. */
  readonly shown: string
  readonly column: {
    readonly name: string
    /** As errors name it. */
    readonly quoted: string
    /** As in the table's declaration: `numeric(12,2)`. */
    readonly declared: string
    /** Without its precision. */
    readonly type: string
    readonly nullable: boolean
  }
  /** All columns of the table or query. */
  readonly columnNames: readonly string[]
  /** Undefined for what is no value of the column's type; throws for a value after which none comes. */
  typed(value: MarkValue): Promise<TypedMark | undefined>
  hasNulls(): Promise<boolean>
  /** The highest value from `after` on; undefined when there is no row. */
  highest(after: string | null): Promise<string | undefined>
  /** The columns that tell rows apart: the primary key, else all columns. */
  identity(): Promise<readonly string[]>
  /** A hash of the identity of each row that has this mark, sorted. */
  hashes(high: string, identity: readonly string[]): Promise<readonly string[]>
  /** Where rows are that have the last mark and equal those that were read in every column, but came later. */
  copies(last: ReadMark): Promise<readonly string[]>
}

/** @throws PoolsmithError WATERMARK_INVALID */
export async function planMark(questions: MarkQuestions, request: MarkRequest): Promise<PlannedMark> {
  const { column } = questions
  const { last, notes } = await lastMark(questions, request)
  if (column.nullable && (await questions.hasNulls())) {
    throw badMark(
      questions,
      'is NULL in some rows, which would never be read',
      'Fill the column in and make it NOT NULL, or leave these rows out knowingly: where: (query) => ' +
        `query.whereNotNull(${JSON.stringify(column.name)}).`,
    )
  }
  const high = await questions.highest(last.high)
  if (high === undefined) return { range: { watermark: last, since: null, isEmpty: true }, notes }
  const identity = await questions.identity()
  const rows = await questions.hashes(high, identity)
  const watermark = { column: column.name, type: column.type, high, identity, rows }
  const since = await sinceOf(questions, last)
  const isForgotten = last.rows !== null && since?.rows === null
  return { range: { watermark, since, isEmpty: false }, notes: isForgotten ? [...notes, FORGOTTEN] : notes }
}

const FORGOTTEN =
  'The columns that told rows with the same mark apart are gone: later rows with the last mark are not read.'

/** Of the last mark, the rows that were read are known as long as the columns that tell them apart are there. */
async function sinceOf(questions: MarkQuestions, { high, identity, rows: read }: Watermark): Promise<MarkSince | null> {
  if (high === null) return null
  const isKnown = identity.every((name) => questions.columnNames.includes(name))
  const rows = isKnown ? read : null
  const copies = rows === null || rows.length === 0 ? [] : await questions.copies({ high, identity, rows })
  return { high, identity, rows, copies }
}

interface LastMark {
  readonly last: Watermark
  readonly notes: readonly string[]
}

/**
 * The mark of the last run in full; or a value that stands alone: then all rows with it count as read, or none does. A
 * mark that does not fit the column any more counts only where the caller gives no other.
 */
async function lastMark(questions: MarkQuestions, { after, instead, from }: MarkRequest): Promise<LastMark> {
  const kept = isMark(after) ? after : undefined
  const misfit = kept === undefined ? undefined : misfitOf(questions, kept)
  if (misfit === undefined) return { last: await markOf(questions, after, from), notes: [] }
  if (instead === undefined) throw badMark(questions, misfit, RESTART)
  if (isMark(instead)) {
    const another = misfitOf(questions, instead)
    if (another !== undefined) throw badMark(questions, another, RESTART)
  }
  const { quoted } = questions.column
  return {
    last: await markOf(questions, instead, undefined),
    notes: [`The state file's mark was not used, because ${quoted} ${misfit}: the rows are those after \`after\`.`],
  }
}

async function markOf(
  questions: MarkQuestions,
  after: MarkValue | Watermark | undefined,
  from: MarkValue | undefined,
): Promise<Watermark> {
  const { column } = questions
  const none: Watermark = {
    column: column.name,
    type: column.type,
    high: null,
    identity: [],
    rows: after === undefined ? [] : null,
  }
  const given = after ?? from
  const mark = isMark(given) ? given : undefined
  const value = isMark(given) ? given.high : given
  if (value === undefined || value === null) return none
  const typed = await questions.typed(value)
  if (typed === undefined) throw badValue(questions, after === undefined ? 'from' : 'after')
  const { text, isCut } = typed
  if (mark !== undefined) return { ...none, high: text, identity: mark.identity, rows: mark.rows }
  // No row has a value that was cut off: the value that it was cut to lies before it.
  return { ...none, high: text, rows: isCut ? null : none.rows }
}

function isMark(given: MarkValue | Watermark | undefined): given is Watermark {
  return typeof given === 'object' && !types.isDate(given)
}

const RESTART = 'Give `after` as a value once: it counts where the last mark does not fit.'
/** Digits of SHA-256, in letters of either case. */
const HASH = /^[0-9a-f]{16}$/i

/**
 * Each type holds all values of those before it, in the same order and written as the same text, by which rows with the
 * last mark are known.
 */
const WIDENINGS: readonly (readonly string[])[] = [
  ['int2', 'int4', 'int8'],
  ['varchar', 'text'],
  ['tinyint', 'smallint', 'int', 'bigint'],
  ['varchar', 'nvarchar'],
]

function isWidened(before: string, now: string): boolean {
  return WIDENINGS.some((types) => types.includes(before) && types.indexOf(now) > types.indexOf(before))
}

/** Why a mark cannot be gone on from: it completes a sentence that begins with the column. Undefined when it can. */
function misfitOf({ column }: MarkQuestions, mark: Watermark): string | undefined {
  if (mark.column !== column.name) return `is not the column of the last mark, ${JSON.stringify(mark.column)}`
  if (mark.type !== column.type && !isWidened(mark.type, column.type)) {
    return `is of type ${column.type}, but the last mark is of type ${mark.type}`
  }
  const isHashed = mark.rows === null || mark.rows.every((hash) => HASH.test(hash))
  return isHashed ? undefined : 'comes with a last mark whose rows are no hashes of this version'
}

function badValue(questions: MarkQuestions, option: 'after' | 'from'): PoolsmithError {
  const { declared } = questions.column
  return badMark(
    questions,
    `is of type ${declared}, and \`${option}\` is no value of that type`,
    `Give a value of ${declared}, as text where a number would lose digits.`,
  )
}

/** @param what completes a sentence that begins with the column */
export function badMark(
  { shown, column }: Pick<MarkQuestions, 'shown' | 'column'>,
  what: string,
  hint: string,
): PoolsmithError {
  return new PoolsmithError(`${shown}: the watermark column ${column.quoted} ${what}.`, {
    code: 'WATERMARK_INVALID',
    phase: 'query',
    hint,
    details: { column: column.name, type: column.declared },
  })
}
