/**
 * Reads the messages of which nearly every answer consists, and checks them in the same pass. pg's parser would read them
 * again, with a view of memory for each chunk and a call out of JavaScript for each text: short statements take longer
 * with it (PostgreSQL documentation, "Message Formats").
 */

import { int16At, int32At, textIn, uint16At } from './bytes-in.ts'
import { type RowMessage, rowIn } from './data-rows.ts'
import type { MessageRules } from './message-rules.ts'
import { NotPostgres } from './messages.ts'
import type { ValueReader } from './value-readers.ts'

/** A message in the form that pg-protocol gives it. */
export type AnswerMessage = RowMessage | DescriptionMessage | CompleteMessage | ReadyMessage | BareMessage

interface DescriptionMessage {
  readonly name: 'rowDescription'
  readonly length: number
  readonly fieldCount: number
  readonly fields: object[]
}

interface CompleteMessage {
  readonly name: 'commandComplete'
  readonly length: number
  readonly text: string
}

interface ReadyMessage {
  readonly name: 'readyForQuery'
  readonly length: number
  readonly status: string
}

interface BareMessage {
  readonly name: 'parseComplete' | 'bindComplete' | 'noData'
  readonly length: number
}

/** pg's own class of a described column, which users see in `result.fields`. */
export type FieldConstructor = new (
  name: string,
  tableId: number,
  columnId: number,
  dataTypeId: number,
  dataTypeSize: number,
  dataTypeModifier: number,
  format: 'text' | 'binary',
) => object

/** The length of a message counts itself. */
const LENGTH_BYTES = 4
const MAX_COUNT = 0x7fff
/** Of a column after its name: table, column, type, its size and modifier; format. */
const FIELD_BYTES = 18

const bare = (name: BareMessage['name']): BareMessage => ({ name, length: LENGTH_BYTES })
const ready = (status: string): ReadyMessage => ({ name: 'readyForQuery', length: LENGTH_BYTES + 1, status })

const PARSED = bare('parseComplete')
const BOUND = bare('bindComplete')
const NO_DATA = bare('noData')
const IDLE = ready('I')
const IN_TRANSACTION = ready('T')
const IN_FAILED_TRANSACTION = ready('E')

/**
 * Reads the message of type `code` whose body is `bytes[start, end)`. It keeps no part of `bytes`.
 *
 * @param readers for the columns that are read from their bytes
 * @returns undefined for a type that is left to pg's parser
 * @throws NotPostgres
 */
export function answerIn(
  code: number,
  bytes: Buffer,
  start: number,
  end: number,
  { rules, readers, Field }: AnswerContext,
): AnswerMessage | undefined {
  switch (code) {
    case 0x44: // D, DataRow
      return rowIn(bytes, start, end, rules.columns ?? rules.undescribed(), readers)
    case 0x54: // T, RowDescription
      rules.assertLength(code, end - start)
      return descriptionIn(bytes, start, end, rules, Field)
    case 0x43: // C, CommandComplete
      rules.assertLength(code, end - start)
      rules.completed()
      return completeIn(bytes, start, end)
    case 0x5a: // Z, ReadyForQuery
      rules.assertLength(code, end - start)
      rules.ready()
      return readyIn(bytes[start] ?? 0)
    case 0x31: // 1, ParseComplete
      rules.assertLength(code, end - start)
      return PARSED
    case 0x32: // 2, BindComplete
      rules.assertLength(code, end - start)
      return BOUND
    case 0x6e: // n, NoData
      rules.assertLength(code, end - start)
      return NO_DATA
    default:
      return undefined
  }
}

export interface AnswerContext {
  readonly rules: MessageRules
  readonly readers: readonly (ValueReader | undefined)[] | undefined
  readonly Field: FieldConstructor
}

function descriptionIn(
  bytes: Buffer,
  start: number,
  end: number,
  rules: MessageRules,
  Field: FieldConstructor,
): DescriptionMessage {
  const fieldCount = uint16At(bytes, start)
  if (fieldCount > MAX_COUNT) throw new NotPostgres(`a count of ${fieldCount - 2 * (MAX_COUNT + 1)}`)
  const fields: object[] = []
  let at = start + 2
  for (let index = 0; index < fieldCount; index++) {
    const zero = endOfText(bytes, at, end)
    const next = zero + 1 + FIELD_BYTES
    if (next > end) throw new NotPostgres('a message that is too short')
    const format = uint16At(bytes, next - 2)
    rules.assertFormat(format)
    fields.push(
      new Field(
        textIn(bytes, at, zero),
        int32At(bytes, zero + 1) >>> 0,
        int16At(bytes, zero + 5),
        int32At(bytes, zero + 7) >>> 0,
        int16At(bytes, zero + 11),
        int32At(bytes, zero + 13),
        format === 0 ? 'text' : 'binary',
      ),
    )
    at = next
  }
  if (at !== end) throw new NotPostgres(at < end ? 'a message that is too long' : 'a message that is too short')
  rules.columns = fieldCount
  return { name: 'rowDescription', length: end - start + LENGTH_BYTES, fieldCount, fields }
}

function completeIn(bytes: Buffer, start: number, end: number): CompleteMessage {
  const zero = endOfText(bytes, start, end)
  if (zero + 1 !== end) throw new NotPostgres('a message that is too long')
  return { name: 'commandComplete', length: end - start + LENGTH_BYTES, text: textIn(bytes, start, zero) }
}

function readyIn(status: number): ReadyMessage {
  if (status === 0x49) return IDLE
  if (status === 0x54) return IN_TRANSACTION
  if (status === 0x45) return IN_FAILED_TRANSACTION
  throw new NotPostgres(`the transaction status ${JSON.stringify(String.fromCharCode(status))}`)
}

/** Where the zero byte is. Most texts are short, and a call out of JavaScript takes longer than this. */
function endOfText(bytes: Buffer, from: number, end: number): number {
  let at = from
  while (at < end && bytes[at] !== 0) at++
  if (at >= end) throw new NotPostgres('a text without its end')
  return at
}
