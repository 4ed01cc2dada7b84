/**
 * The rules for the messages of a server (PostgreSQL documentation, "Message Formats"), applied before pg's parser reads
 * them. That parser trusts the server: it loops for ever on an error without its end, allocates memory for any number of
 * columns, reads a column in binary form as an array of any number of dimensions, and answers a request for a password in
 * an open session.
 */

import { BodyReader, NotPostgres } from './messages.ts'

/** PostgreSQL limits values and rows to 1 GiB (MaxAllocSize). */
export const LONGEST_MESSAGE = 0x4000_0000
/** An error or a notice may contain text that the statement gives it. */
const LONGEST_TEXT = 16 << 20
const LONGEST_OTHER = 1 << 20
/** The limit for messages that pg answers, between two ReadyForQuery. Only a flood reaches it. */
const MOST_PROMPTS = 10_000

type Check = (body: BodyReader, rules: MessageRules) => void

/** The size of the body in bytes, and a check of its content. */
interface Rule {
  readonly least: number
  readonly most: number
  readonly check?: Check
}

const exactly = (bytes: number, check?: Check): Rule => ({ least: bytes, most: bytes, check })
const atMost = (bytes: number, check?: Check): Rule => ({ least: 0, most: bytes, check })

const BY_TYPE: Readonly<Record<string, Rule>> = {
  '1': exactly(0), // ParseComplete; this and others are read in answers.ts
  '2': exactly(0), // BindComplete
  '3': exactly(0), // CloseComplete
  A: atMost(LONGEST_OTHER, (body) => body.skip(4).skipText().skipText().expectEnd()), // NotificationResponse
  c: exactly(0), // CopyDone
  C: atMost(LONGEST_OTHER), // CommandComplete
  d: atMost(LONGEST_MESSAGE), // CopyData
  D: atMost(LONGEST_MESSAGE), // DataRow
  E: atMost(LONGEST_TEXT, checkFields), // ErrorResponse
  G: atMost(LONGEST_OTHER, checkCopyIn), // CopyInResponse
  H: atMost(LONGEST_OTHER, checkCopy), // CopyOutResponse
  I: exactly(0, (_body, rules) => rules.prompted()), // EmptyQueryResponse
  K: { least: 8, most: 260, check: (_body, rules) => rules.keyCame() }, // BackendKeyData; its key by the version
  n: exactly(0), // NoData
  N: atMost(LONGEST_TEXT, checkFields), // NoticeResponse
  s: exactly(0, (_body, rules) => rules.suspended()), // PortalSuspended
  S: atMost(LONGEST_OTHER, (body) => body.skipText().skipText().expectEnd()), // ParameterStatus
  t: atMost(LONGEST_OTHER, (body) => body.skip(4 * body.count()).expectEnd()), // ParameterDescription
  T: atMost(LONGEST_OTHER), // RowDescription
  W: atMost(LONGEST_OTHER, checkCopy), // CopyBothResponse
  Z: exactly(1), // ReadyForQuery
}

const RULES: readonly (Rule | undefined)[] = Array.from(
  { length: 256 },
  (_, code) => BY_TYPE[String.fromCharCode(code)],
)

function ruleFor(code: number): Rule {
  const rule = RULES[code]
  if (rule === undefined) {
    throw new NotPostgres(`message ${JSON.stringify(String.fromCharCode(code))} in an open session`)
  }
  return rule
}

/** Applies the rules to one session. Some depend on the requests that were sent. */
export class MessageRules {
  /** The number of values in each row, where the server has described the rows of the current statement. */
  columns: number | undefined
  #descriptionAsked = false
  #describesEach = false
  #binaryAsked = false
  #limitedExecutes = 0
  #prompts = 0
  #ready = false

  /** A text was sent, of one statement or several, which the server describes one by one (PostgreSQL documentation, "Simple Query"). */
  textSent(): void {
    this.#descriptionAsked = true
    this.#describesEach = true
  }

  /** A statement was sent whose rows must be described first. */
  describeAsked(): void {
    this.#descriptionAsked = true
  }

  /** A statement was bound. @param binary whether it asks for values in binary form */
  bound(binary: boolean): void {
    if (binary) this.#binaryAsked = true
  }

  /** A statement was executed up to a number of rows, after which the server may suspend it. */
  executedInPart(): void {
    this.#limitedExecutes++
  }

  /**
   * Checks the length of a message before it has arrived completely.
   * @param bytes the length of its body
   * @throws NotPostgres
   */
  assertLength(code: number, bytes: number): void {
    const { least, most } = ruleFor(code)
    if (bytes < least || bytes > most)
      throw new NotPostgres(`message ${String.fromCharCode(code)} with a body of ${bytes} bytes`)
  }

  /**
   * Checks a whole message.
   * @throws NotPostgres
   */
  check(code: number, bytes: Buffer, start: number, end: number): void {
    this.assertLength(code, end - start)
    const { check } = ruleFor(code)
    if (check !== undefined) check(new BodyReader(bytes, start, end), this)
  }

  /**
   * A row arrived without a description, which is allowed only where the statement did not ask for one.
   * @throws NotPostgres
   */
  undescribed(): undefined {
    if (this.#descriptionAsked) throw new NotPostgres('a row without its description')
  }

  /**
   * Checks the format of a described column.
   * @throws NotPostgres
   */
  assertFormat(format: number): void {
    if (format > 1) throw new NotPostgres(`a column in format ${format}`)
    if (format === 1 && !this.#binaryAsked) {
      throw new NotPostgres('a column in binary form where text was requested')
    }
  }

  suspended(): void {
    // pg requests the next rows for each of these messages, so that a flood would fill its output.
    if (this.#limitedExecutes === 0) throw new NotPostgres('a suspended statement where all rows were requested')
    this.#limitedExecutes--
  }

  prompted(): void {
    if (++this.#prompts > MOST_PROMPTS) throw new NotPostgres(`more than ${MOST_PROMPTS} messages that need an answer`)
  }

  keyCame(): void {
    if (this.#ready) throw new NotPostgres('a key for cancelling in an open session')
  }

  /** A statement has ended. */
  completed(): void {
    if (this.#describesEach) this.columns = undefined
  }

  ready(): void {
    this.#ready = true
    this.columns = undefined
    this.#descriptionAsked = false
    this.#describesEach = false
    this.#limitedExecutes = 0
    this.#prompts = 0
  }
}

/** The body of an error or a notice: a letter and a text for each field, then a zero byte as the last byte. */
function checkFields(body: BodyReader): void {
  while (body.byte() !== 0) body.skipText()
  body.expectEnd()
}

function checkCopyIn(body: BodyReader, rules: MessageRules): void {
  rules.prompted()
  checkCopy(body)
}

/** The overall format, the number of columns, and the format of each column. */
function checkCopy(body: BodyReader): void {
  body.skip(1)
  body.skip(2 * body.count()).expectEnd()
}
