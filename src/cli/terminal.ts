/** The streams that the program writes to: results to `out`, everything else to `log`. */

import { randomBytes } from 'node:crypto'
import { styleText } from 'node:util'
import { printable } from '../printable.ts'

type Format = Parameters<typeof styleText>[0]

export interface Terminal {
  readonly out: Screen
  readonly log: Screen
}

/** Takes the cursor to the beginning of the line, and the line away. */
const ERASE_LINE = '\r\x1b[2K'

/**
 * An output stream. It is the one filter for texts from elsewhere (names, ids, words of a server): control characters
 * are shown as their codes, so that no text moves the cursor, sets a title, or takes other colours than ours.
 */
export class Screen {
  readonly #stream: NodeJS.WritableStream & { isTTY?: boolean; columns?: number }
  /** Stands for an escape sequence of our own in a text that is still to be filtered; no other text can know it. */
  readonly #mark = `\x1b<${randomBytes(12).toString('base64url')}>`

  constructor(stream: NodeJS.WritableStream & { isTTY?: boolean; columns?: number }) {
    this.#stream = stream
  }

  /** Whether the stream is a terminal that can draw over what it has drawn. */
  get isTTY(): boolean {
    return this.#stream.isTTY === true && process.env['TERM'] !== 'dumb'
  }

  /** Whether people see what is written. */
  get isTerminal(): boolean {
    return this.#stream.isTTY === true
  }

  /** The columns of the terminal. One that does not know says 0. */
  get columns(): number {
    return this.isTTY ? this.#stream.columns || 80 : Number.POSITIVE_INFINITY
  }

  /** The columns to fill with text. Output that does not go to a terminal is not wrapped. */
  get width(): number {
    return this.isTTY ? Math.max(40, Math.min(this.columns, 100)) : Number.POSITIVE_INFINITY
  }

  /** The text in colour, for {@link line} of this screen, where the stream is a terminal and NO_COLOR does not forbid it. */
  style(format: Format, text: string): string {
    const [begin = '', end = ''] = styleText(format, '\n', { stream: this.#stream }).split('\n')
    return begin === '' ? text : `${this.#marked(begin)}${visible(text)}${this.#marked(end)}`
  }

  /** Writes lines; a line break in the text begins a new one. */
  line(text = ''): void {
    this.#stream.write(`${this.#filtered(text)}\n`)
  }

  /** Writes lines as they are, for a program; on a terminal as {@link line} does. */
  verbatim(text: string): void {
    if (this.isTerminal) this.line(text)
    else this.#stream.write(`${text}\n`)
  }

  /** Writes the beginning of a line. */
  begin(text: string): void {
    this.#stream.write(this.#filtered(text))
  }

  /** Draws over the current line. Only on a terminal. */
  redraw(line: string): void {
    this.#stream.write(`${ERASE_LINE}${this.#filtered(line.replaceAll('\n', ' '))}`)
  }

  /** Takes the current line away. Only on a terminal. */
  erase(): void {
    this.#stream.write(ERASE_LINE)
  }

  #marked(sequence: string): string {
    return `${this.#mark}${sequence.slice(1)}`
  }

  #filtered(text: string): string {
    const [first = '', ...rest] = text.split(this.#mark)
    const parts = rest.map((part) => {
      const [sequence] = /^\[[\d;]*m/.exec(part) ?? ['']
      return `${sequence === '' ? '' : '\x1b'}${sequence}${visible(part.slice(sequence.length))}`
    })
    return visible(first) + parts.join('')
  }
}

/** Without control characters but line breaks. */
function visible(text: string): string {
  return text
    .split('\n')
    .map((line) => printable(line, Number.POSITIVE_INFINITY))
    .join('\n')
}
