/** Where the program writes to: results to `out`, everything else to `log`. */

import { styleText } from 'node:util'

type Format = Parameters<typeof styleText>[0]

export interface Terminal {
  readonly out: Screen
  readonly log: Screen
}

/** An output stream with what one needs to know to write well on it. */
export class Screen {
  readonly #stream: NodeJS.WritableStream & { isTTY?: boolean; columns?: number }

  constructor(stream: NodeJS.WritableStream & { isTTY?: boolean; columns?: number }) {
    this.#stream = stream
  }

  /** Whether somebody is watching, on a terminal that can draw over what it has drawn. */
  get isTTY(): boolean {
    return this.#stream.isTTY === true && process.env['TERM'] !== 'dumb'
  }

  /** Columns that there are. A terminal that does not know says 0. */
  get columns(): number {
    return this.isTTY ? this.#stream.columns || 80 : Number.POSITIVE_INFINITY
  }

  /** Columns to fill with text. What is not a terminal is not wrapped. */
  get width(): number {
    return this.isTTY ? Math.max(40, Math.min(this.columns, 100)) : Number.POSITIVE_INFINITY
  }

  /** Colours, where the stream is a terminal and NO_COLOR does not forbid it. */
  style(format: Format, text: string): string {
    return styleText(format, text, { stream: this.#stream })
  }

  write(text: string): void {
    this.#stream.write(text)
  }

  line(text = ''): void {
    this.write(`${text}\n`)
  }
}
