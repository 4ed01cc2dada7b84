/** tedious' parser of tokens, with checks that tedious does not make. */

import { NotSqlServer } from './packets.ts'
import type { ColumnMetadata, StreamParser, TediousParts, Token } from './tedious-internals.ts'

/** MS-TDS 2.2.4.2.1: the tokens of a server. */
export const TOKEN = {
  returnStatus: 0x79,
  columnMetadata: 0x81,
  error: 0xaa,
  info: 0xab,
  loginAck: 0xad,
  featureExtAck: 0xae,
  row: 0xd1,
  compressedRow: 0xd2,
  envChange: 0xe3,
  sspi: 0xed,
  fedAuthInfo: 0xee,
  done: 0xfd,
  doneProc: 0xfe,
  doneInProc: 0xff,
} as const

/** `login`: until the session stands. */
export type AnswerKind = 'login' | 'statement'

export interface OwnStreamParser extends StreamParser {
  /** Stops reading, until more has arrived, unless the buffer reaches up to `end`. */
  need(end: number): void
  /** The columns of the row that comes next. @throws NotSqlServer where none were announced */
  rowColumns(): readonly ColumnMetadata[]
  /** Throws unless the last result has ended, which tedious does not look at: rows could be missing. */
  assertComplete(): void
  /** The next value, as tedious reads it. */
  stockValue(metadata: ColumnMetadata): unknown
}

export type StreamParserClass = new (options: object, kind: AnswerKind) => OwnStreamParser

/** The tokens of an answer to a login. A row, which may be one byte for thousands of values, is none of them. */
const LOGIN_TOKENS: ReadonlySet<number> = new Set([
  TOKEN.returnStatus,
  TOKEN.error,
  TOKEN.info,
  TOKEN.loginAck,
  TOKEN.featureExtAck,
  TOKEN.envChange,
  TOKEN.sspi,
  TOKEN.fedAuthInfo,
  TOKEN.done,
  TOKEN.doneProc,
  TOKEN.doneInProc,
])

/** The kinds of ENVCHANGE (MS-TDS 2.2.7.9) that tedious knows. It writes a line to the console for each other one. */
const ENV_CHANGES: ReadonlySet<number> = new Set([1, 2, 3, 4, 7, 8, 9, 10, 13, 18, 20])

/** DONE_MORE (MS-TDS 2.2.7.6): another result follows. */
const DONE_MORE = 0x01
const NO_COLUMNS: readonly ColumnMetadata[] = []

/** Errors of one answer. tedious copies all earlier ones for each new one. */
const MOST_ERRORS = 1000

export function streamParserClass(parts: TediousParts): StreamParserClass {
  const { NotEnoughDataError, readValue } = parts

  return class extends parts.StreamParser implements OwnStreamParser {
    readonly #isLogin: boolean
    #errors = 0
    #isComplete = false

    constructor(options: object, kind: AnswerKind) {
      super(options)
      this.#isLogin = kind === 'login'
    }

    need(end: number): void {
      if (this.buffer.length < end) throw new NotEnoughDataError(end)
    }

    rowColumns(): readonly ColumnMetadata[] {
      if (this.colMetadata.length === 0) throw new NotSqlServer('a row without its columns')
      return this.colMetadata
    }

    assertComplete(): void {
      if (!this.#isComplete) throw new NotSqlServer('an answer that breaks off before the end of a result')
    }

    stockValue(metadata: ColumnMetadata): unknown {
      const result = readValue(this.buffer, this.position, metadata, this.options)
      this.position = result.offset
      return result.value
    }

    override readToken(): Token | undefined {
      const type = this.buffer[this.position] ?? 0
      if (this.#isLogin && !LOGIN_TOKENS.has(type)) {
        throw new NotSqlServer(`a token of type ${type} in the answer to a login`)
      }
      if (type === TOKEN.envChange && this.#skipsEnvChange()) return undefined
      if (type === TOKEN.row || type === TOKEN.compressedRow) this.rowColumns()
      if (type === TOKEN.columnMetadata) this.#isComplete = false
      const statusAt = this.position + 1
      const token = super.readToken()
      if (type >= TOKEN.done) {
        this.#isComplete = ((this.buffer[statusAt] ?? 0) & DONE_MORE) === 0
        // A row belongs to the columns of its own result.
        this.colMetadata = NO_COLUMNS
      }
      if (type === TOKEN.error && ++this.#errors > MOST_ERRORS) return undefined
      return token
    }

    /** Steps over a change of a kind that is not known. */
    #skipsEnvChange(): boolean {
      const at = this.position
      this.need(at + 4)
      if (ENV_CHANGES.has(this.buffer[at + 3] ?? 0)) return false
      const end = at + 3 + this.buffer.readUInt16LE(at + 1)
      this.need(end)
      this.position = end
      return true
    }
  }
}
