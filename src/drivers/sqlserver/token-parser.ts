/** The parser of one answer: tedious' own, with a parser of tokens that fits the answer. */

import { setImmediate } from 'node:timers/promises'
import { fieldParserClass } from './row-fields.ts'
import { type RowMode, rowParserClass } from './row-reader.ts'
import { type AnswerKind, type StreamParserClass, streamParserClass } from './stream-parser.ts'
import { type StreamParser, type TediousParts, type Token, type TokenParser, whole } from './tedious-internals.ts'

/** The kind of answer and of rows that a parser reads. */
export interface AnswerOptions {
  readonly kind: AnswerKind
  /** How its rows are read; undefined: in tedious' own way. */
  readonly mode: RowMode | undefined
}

export type MakeTokenParser = (
  message: unknown,
  debug: unknown,
  handler: unknown,
  options: object,
  answer: AnswerOptions,
) => TokenParser

type TokenParserClass = TediousParts['TokenParser']
type Handler = Record<string, (token: Token) => void>
type Message = AsyncIterable<Buffer> | Iterable<Buffer>

/** How often the clock is read, in tokens, and after how long the parser lets other work of the process run. */
const TOKENS_PER_LOOK = 64
const LONGEST_TURN_MILLIS = 50

/** Builds the way to make a parser for one answer. */
export function tokenParserFactory(parts: TediousParts): MakeTokenParser {
  const Base = streamParserClass(parts)
  const streamParser = (mode: RowMode | undefined): StreamParserClass => {
    if (mode === undefined) return Base
    return mode.fields === true ? fieldParserClass(parts, Base) : rowParserClass(parts, Base, mode)
  }
  const classes = new Map<string, TokenParserClass>()
  return (message, debug, handler, options, { kind, mode }) => {
    const key = mode === undefined ? kind : `${kind} ${mode.exact} ${mode.bare} ${mode.fields ?? false}`
    const known = classes.get(key) ?? tokenParserClass(parts, streamParser(mode), kind)
    classes.set(key, known)
    return new known(message, debug, handler, options)
  }
}

/** The answer to a cancelled statement may break off anywhere (MS-TDS 2.2.1.7). */
function isCancelled(handler: object): boolean {
  return 'request' in handler && (handler.request as { readonly canceled?: boolean } | undefined)?.canceled === true
}

/**
 * tedious' parser of one answer with another one of its tokens inside. The constructor of tedious' class starts `run`
 * before a field of ours could be set: what it needs comes by closure.
 */
function tokenParserClass(parts: TediousParts, Parser: StreamParserClass, kind: AnswerKind): TokenParserClass {
  return class extends parts.TokenParser {
    override async run(message: Message, handler: Handler): Promise<void> {
      const parser = new Parser(this.options, kind)
      if (kind === 'login') {
        // Gathered first: a message in small pieces would be parsed again from its start for each piece.
        parser.write(await whole(message))
        await this.#tokens(parser, handler)
      } else {
        for await (const chunk of message) {
          parser.write(chunk)
          await this.#tokens(parser, handler)
        }
      }
      // Fields of unknown length may have asked for more than was to come.
      parser.bytesNeeded = parser.buffer.length - parser.position + 1
      await this.#tokens(parser, handler)
      parser.end()
      if (kind === 'statement' && !isCancelled(handler)) parser.assertComplete()
    }

    async #tokens(parser: StreamParser, handler: Handler): Promise<void> {
      let since = 0
      for (let count = 1; ; count++) {
        while (this.paused) {
          await new Promise<void>((resolve) => {
            this.onResume = resolve
          })
        }
        const token = parser.read()
        if (token === undefined) return
        this.debug.token(token)
        handler[token.handlerName]?.(token)
        if (count % TOKENS_PER_LOOK !== 0) continue
        const now = performance.now()
        if (since === 0) since = now
        else if (now - since > LONGEST_TURN_MILLIS) {
          await setImmediate()
          since = 0
        }
      }
    }
  }
}
