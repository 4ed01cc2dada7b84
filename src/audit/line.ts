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

let lastMillis = 0
let lastTime = ''

/** Now, in ISO 8601. */
function timeNow(): string {
  const millis = Date.now()
  if (millis !== lastMillis) {
    lastMillis = millis
    lastTime = new Date(millis).toISOString()
  }
  return lastTime
}

export class AuditLine {
  readonly #kind: AuditEventKind
  readonly #time = timeNow()
  readonly #facts: Readonly<Record<string, unknown>>
  readonly #parts: readonly Part[]

  constructor(kind: AuditEventKind, facts: Readonly<Record<string, unknown>>, ...parts: readonly Part[]) {
    this.#kind = kind
    this.#facts = facts
    this.#parts = parts
  }

  /** On one line. */
  get json(): string {
    const own = JSON.stringify(this.#facts).slice(1, -1)
    let text = `{"time":"${this.#time}","event":"${this.#kind}"${own === '' ? '' : `,${own}`}`
    for (const part of this.#parts) text += part.json
    return `${text}}`
  }

  get event(): AuditEvent {
    return JSON.parse(this.json) as AuditEvent
  }
}
