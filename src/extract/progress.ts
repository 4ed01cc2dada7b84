/** How far an extract has come. */
export interface Progress {
  readonly rows: number
  /** Bytes written to the file so far. */
  readonly bytes: number
  /** Since the start, without rows that were kept from an earlier run. */
  readonly rowsPerSecond: number
  /** By the catalogue; absent when it does not know. There may be more. */
  readonly estimatedRows: number | undefined
  readonly elapsedMillis: number
  /** True for the last report. */
  readonly done: boolean
}

/** The least time between two reports. */
const EVERY_MILLIS = 200

/** Counts rows, and reports them a few times a second. */
export class ProgressMeter {
  readonly #report: ((progress: Progress) => void) | undefined
  readonly #estimatedRows: number | undefined
  readonly #now: () => number
  readonly #started: number
  #last: number
  #rows = 0
  #kept = 0

  constructor(
    report: ((progress: Progress) => void) | undefined,
    estimatedRows: number | undefined,
    now: () => number = () => performance.now(),
  ) {
    this.#report = report
    this.#estimatedRows = estimatedRows
    this.#now = now
    this.#started = now()
    this.#last = Number.NEGATIVE_INFINITY
  }

  get rows(): number {
    return this.#rows
  }

  add(rows: number, bytes: number): void {
    this.#rows += rows
    if (this.#report === undefined || this.#now() - this.#last < EVERY_MILLIS) return
    this.#last = this.#now()
    this.#tell(bytes, false)
  }

  /** Adds rows of an earlier run, which do not count for the speed. */
  keep(rows: number, bytes: number): void {
    this.#kept = rows
    this.add(rows, bytes)
  }

  finish(bytes: number): void {
    this.#tell(bytes, true)
  }

  #tell(bytes: number, done: boolean): void {
    const elapsedMillis = this.#now() - this.#started
    this.#report?.({
      rows: this.#rows,
      bytes,
      rowsPerSecond: elapsedMillis > 0 ? Math.round(((this.#rows - this.#kept) * 1000) / elapsedMillis) : 0,
      estimatedRows: this.#estimatedRows,
      elapsedMillis: Math.round(elapsedMillis),
      done,
    })
  }
}
