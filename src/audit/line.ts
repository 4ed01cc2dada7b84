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
  /** On one line. */
  readonly json: string

  private constructor(json: string) {
    this.json = json
  }

  static of(kind: AuditEventKind, facts: Readonly<Record<string, unknown>>, ...parts: readonly Part[]): AuditLine {
    let json = `{"time":"${timeNow()}","event":"${kind}"${new Part(facts).json}`
    for (const part of parts) json += part.json
    return new AuditLine(`${json}}`)
  }

  /** A statement that succeeded: on the hot path. */
  static ofSuccess(rows: number | undefined, millis: number, statement: Part, session: Part, context: Part): AuditLine {
    const count = rows === undefined ? '' : `"rows":${rows},`
    const rest = `"duration_ms":${millis}${statement.json}${session.json}${context.json}}`
    return new AuditLine(`{"time":"${timeNow()}","event":"data_access","outcome":"success",${count}${rest}`)
  }

  get event(): AuditEvent {
    return JSON.parse(this.json) as AuditEvent
  }
}
