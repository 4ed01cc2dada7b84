/**
 * The rules for what a server may send (PostgreSQL documentation, "Message Formats"), held before pg's parser sees a
 * message. That parser trusts the server: an error without its end makes it loop for ever, a count makes it take memory
 * for as many columns, a column in binary form is read as an array of as many dimensions as it says, and a request for
 * a login is answered in the middle of a session.
 */

import { BodyReader, NotPostgres } from './messages.ts'

/** A value has less than 1 GiB in PostgreSQL, and so has a row on its way (MaxAllocSize). */
export const LONGEST_MESSAGE = 0x4000_0000
/** An error or a notice may hold what the statement put into it. */
const LONGEST_TEXT = 16 << 20
const LONGEST_OTHER = 1 << 20
/** Messages that pg answers, between two moments in which the server is ready; none but a flood comes near. */
const MOST_PROMPTS = 10_000

type Check = (body: BodyReader, rules: MessageRules) => void

/** How many bytes the body has, and what is in it. */
interface Rule {
  readonly least: number
  readonly most: number
  readonly check?: Check
}

const exactly = (bytes: number, check?: Check): Rule => ({ least: bytes, most: bytes, check })
const atMost = (bytes: number, check?: Check): Rule => ({ least: 0, most: bytes, check })

const BY_TYPE: Readonly<Record<string, Rule>> = {
  '1': exactly(0), // ParseComplete
  '2': exactly(0), // BindComplete
  '3': exactly(0), // CloseComplete
  A: atMost(LONGEST_OTHER, (body) => body.skip(4).skipText().skipText().expectEnd()), // NotificationResponse
  c: exactly(0), // CopyDone
  C: atMost(LONGEST_OTHER, (body) => body.skipText().expectEnd()), // CommandComplete
  d: atMost(LONGEST_MESSAGE), // CopyData
  D: atMost(LONGEST_MESSAGE), // DataRow; its reader checks the rest
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
  T: atMost(LONGEST_OTHER, (body, rules) => rules.described(body)), // RowDescription
  W: atMost(LONGEST_OTHER, checkCopy), // CopyBothResponse
  Z: exactly(1, checkReady), // ReadyForQuery
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

/** Holds the rules for one session, of which some depend on what has been asked. */
export class MessageRules {
  /** How many values each row has, where the server has said it for the current statement. */
  columns: number | undefined
  #descriptionAsked = false
  #binaryAsked = false
  #limitedExecutes = 0
  #prompts = 0
  #ready = false

  /** A statement is sent whose rows are described before they come. */
  describeAsked(): void {
    this.#descriptionAsked = true
  }

  /** A statement is bound: whether its values are wanted in binary form. */
  bound(binary: boolean): void {
    if (binary) this.#binaryAsked = true
  }

  /** A statement is executed up to a number of rows, after which the server may suspend it. */
  executedInPart(): void {
    this.#limitedExecutes++
  }

  /**
   * Checks the length of a message, before all of it is here.
   * @param bytes of its body
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
    if (check !== undefined) check(new BodyReader(bytes.subarray(start, end)), this)
  }

  /**
   * A row comes, and nothing has described it: only a statement that asked for no description may have that.
   * @throws NotPostgres
   */
  undescribed(): undefined {
    if (this.#descriptionAsked) throw new NotPostgres('a row without its description')
  }

  described(body: BodyReader): void {
    const columns = body.count()
    for (let index = 0; index < columns; index++) {
      // Name; table, column, type, its size and modifier; format.
      const format = body.skipText().skip(16).count()
      if (format > 1) throw new NotPostgres(`a column in format ${format}`)
      if (format === 1 && !this.#binaryAsked) {
        throw new NotPostgres('a column in binary form where text was asked for')
      }
    }
    body.expectEnd()
    this.columns = columns
  }

  suspended(): void {
    // pg asks for the next rows at each of them, however many come.
    if (this.#limitedExecutes === 0) throw new NotPostgres('the end of a part of the rows where all were asked for')
    this.#limitedExecutes--
  }

  prompted(): void {
    if (++this.#prompts > MOST_PROMPTS)
      throw new NotPostgres(`more than ${MOST_PROMPTS} messages that ask for an answer`)
  }

  keyCame(): void {
    if (this.#ready) throw new NotPostgres('a key for cancelling in an open session')
  }

  ready(): void {
    this.#ready = true
    this.columns = undefined
    this.#descriptionAsked = false
    this.#limitedExecutes = 0
    this.#prompts = 0
  }
}

/** An error or a notice: letters with a text each, up to a zero byte, which is the last one. */
function checkFields(body: BodyReader): void {
  while (body.byte() !== 0) body.skipText()
  body.expectEnd()
}

function checkCopyIn(body: BodyReader, rules: MessageRules): void {
  rules.prompted()
  checkCopy(body)
}

/** The format of all, the number of columns, and the format of each. */
function checkCopy(body: BodyReader): void {
  body.skip(1)
  body.skip(2 * body.count()).expectEnd()
}

function checkReady(body: BodyReader, rules: MessageRules): void {
  const status = String.fromCharCode(body.byte())
  if (!'ITE'.includes(status)) throw new NotPostgres(`the transaction status ${JSON.stringify(status)}`)
  rules.ready()
}
