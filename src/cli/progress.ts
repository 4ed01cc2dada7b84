/** The progress of a long read: a bar on a terminal, a line every few seconds elsewhere. */

import { bytes, count, duration } from './layout.ts'
import type { Screen } from './terminal.ts'

export interface Progress {
  readonly rows: number
  readonly rowsPerSecond: number
  /** Bytes written so far, where known. */
  readonly bytes?: number
  /** An estimate of all rows, where there is one; there may be more or fewer. */
  readonly estimatedRows?: number | undefined
}

const REDRAW_MILLIS = 100
const LINE_MILLIS = 5000
const BAR_WIDTH = 16

export class ProgressBar {
  readonly #screen: Screen
  readonly #label: string
  readonly #now: () => number
  #drawn: number

  /** @param now a monotonic clock in milliseconds */
  constructor(screen: Screen, label: string, now: () => number = () => performance.now()) {
    this.#screen = screen
    this.#label = label
    this.#now = now
    // A bar is drawn at once; a log gets its first line after the pause.
    this.#drawn = screen.isTTY ? Number.NEGATIVE_INFINITY : now()
  }

  /** May be called for every batch: it draws only now and then. */
  update(progress: Progress): void {
    const now = this.#now()
    if (now - this.#drawn < (this.#screen.isTTY ? REDRAW_MILLIS : LINE_MILLIS)) return
    this.#drawn = now
    const line = this.#line(progress)
    if (this.#screen.isTTY) this.#screen.redraw(line)
    else this.#screen.line(line)
  }

  /** Erases the bar, so that the next output starts on an empty line. */
  clear(): void {
    if (this.#screen.isTTY && this.#drawn !== Number.NEGATIVE_INFINITY) this.#screen.erase()
  }

  #line(progress: Progress): string {
    const { rows, rowsPerSecond, estimatedRows } = progress
    const facts = [`${count(rows)} rows`, `${count(rowsPerSecond)} rows/s`]
    let head = this.#label
    if (estimatedRows !== undefined && estimatedRows > 0) {
      // Below 100% until the end, because the estimate may be too low.
      const share = Math.min(rows / estimatedRows, 0.99)
      if (rowsPerSecond > 0 && rows < estimatedRows)
        facts.push(`${duration(((estimatedRows - rows) / rowsPerSecond) * 1000)} left`)
      const filled = Math.round(share * BAR_WIDTH)
      const bar = this.#screen.isTTY ? ` [${'#'.repeat(filled)}${'-'.repeat(BAR_WIDTH - filled)}]` : ''
      head += `${bar} ${Math.floor(share * 100)}%`
    }
    if (progress.bytes !== undefined) facts.push(bytes(progress.bytes))
    // A line that wraps cannot be redrawn, so the last facts are left out until it fits.
    const columns = Math.min(this.#screen.columns, this.#screen.width)
    const fits = (line: string): boolean => line.length < columns
    while (facts.length > 1 && !fits([head, ...facts].join('  '))) facts.pop()
    const line = [head, ...facts].join('  ')
    return fits(line) ? line : line.slice(0, columns - 1)
  }
}
