/** One line of the audit log: a flat object, made of parts that are written as JSON once where they stay the same. */

/** The kinds of lines. */
export type AuditEventKind =
  | 'authentication'
  | 'authorization'
  | 'data_access'
  | 'rotation'
  | 'api_key'
  | 'secret'
  | 'extract'
  | 'log'

/** One event, as a function as sink is given it, and as a line of the file holds it. docs/audit.md has the properties of each kind. */
export interface AuditEvent {
  /** ISO 8601, UTC, with milliseconds. */
  readonly time: string
  readonly event: AuditEventKind
  readonly [property: string]: unknown
}

/** Properties that are the same on many lines, and their JSON. */
export class Part {
  /** Without the braces: empty, or with a comma in front. */
  readonly json: string

  constructor(facts: Readonly<Record<string, unknown>>) {
    const inner = JSON.stringify(facts).slice(1, -1)
    this.json = inner === '' ? '' : `,${inner}`
  }
}

/** How far the clock of the machine is ahead of performance.now(), and until when that is taken as right. */
let ahead = 0
let aheadUntil = Number.NEGATIVE_INFINITY
const AHEAD_MILLIS = 100

/** The time of the clock at a moment of performance.now(). Two readings of a clock take as long as the rest of a line. */
function clockAt(moment: number): number {
  const now = performance.now()
  if (now > aheadUntil) {
    ahead = Date.now() - now
    aheadUntil = now + AHEAD_MILLIS
  }
  return Math.floor(ahead + moment)
}

let lastMillis = 0
let lastTime = ''

/** In ISO 8601. Many lines are of the same millisecond. */
function timeText(millis: number): string {
  if (millis !== lastMillis) {
    lastMillis = millis
    lastTime = new Date(millis).toISOString()
  }
  return lastTime
}

/** Its JSON is made when it is written: of many lines at a time, while no caller waits for an answer. */
export abstract class AuditLine {
  readonly #moment: number
  readonly #parts: readonly Part[]

  /** @param moment by performance.now() */
  protected constructor(moment: number, parts: readonly Part[]) {
    this.#moment = moment
    this.#parts = parts
  }

  static of(kind: AuditEventKind, facts: Readonly<Record<string, unknown>>, ...parts: readonly Part[]): AuditLine {
    return new FactsLine(kind, new Part(facts), parts)
  }

  /** Without the braces. */
  protected abstract get facts(): string

  /** On one line. */
  get json(): string {
    let json = `{"time":"${timeText(clockAt(this.#moment))}",${this.facts}`
    for (const part of this.#parts) json += part.json
    return `${json}}`
  }

  /** In characters, about. */
  get length(): number {
    let length = 100
    for (const { json } of this.#parts) length += json.length
    return length
  }

  get event(): AuditEvent {
    return JSON.parse(this.json) as AuditEvent
  }
}

class FactsLine extends AuditLine {
  readonly #kind: AuditEventKind

  constructor(kind: AuditEventKind, facts: Part, parts: readonly Part[]) {
    super(performance.now(), [facts, ...parts])
    this.#kind = kind
  }

  protected override get facts(): string {
    return `"event":"${this.#kind}"`
  }
}

/** A statement that succeeded: on the hot path. */
export class SuccessLine extends AuditLine {
  readonly #rows: number | undefined
  readonly #durationMillis: number

  /** @param begunAt by performance.now() */
  constructor(rows: number | undefined, begunAt: number, parts: readonly Part[]) {
    const now = performance.now()
    super(now, parts)
    this.#rows = rows
    this.#durationMillis = now - begunAt
  }

  protected override get facts(): string {
    const rows = this.#rows === undefined ? '' : `"rows":${this.#rows},`
    return `"event":"data_access","outcome":"success",${rows}"duration_ms":${rounded(this.#durationMillis)}`
  }
}

/** To the microsecond. */
export function rounded(millis: number): number {
  return Math.round(millis * 1000) / 1000
}
