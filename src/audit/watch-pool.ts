/** Tells an audit log of the logins and statements of one pool. */

import { errorCode } from '../any-error.ts'
import type { AuditFacts } from '../audit-facts.ts'
import type { Credential } from '../credentials/credential.ts'
import type { Driver, OpenContext } from '../drivers/driver.ts'
import type { StatementEnd, StatementWatcher, WatchedStatement } from '../drivers/statement-watch.ts'
import type { Whereabouts } from '../drivers/whereabouts.ts'
import { PoolsmithError } from '../errors.ts'
import type { EventHub } from '../pool/events.ts'
import { printable } from '../printable.ts'
import { isOwnWork } from '../tracing.ts'
import { currentContext } from './context.ts'
import { AuditLine, Part, rounded, SuccessLine } from './line.ts'
import type { AuditLog } from './log.ts'
import { processFacts, processPart } from './process-part.ts'
import { Statements } from './statements.ts'

export interface AuditedPool<Raw extends object> {
  readonly driver: Driver<Raw>
  readonly events: EventHub
  readonly where: Whereabouts
  /** The id of the connection in its store. */
  readonly connection: string | undefined
  /** The strategy. */
  readonly method: string
}

/** From now on every login and statement of the pool is on the log. */
export function auditPool<Raw extends object>(log: AuditLog, pool: AuditedPool<Raw>): void {
  const { driver, events, where, connection, method } = pool
  const place = {
    pool: where.poolName,
    connection,
    system: where.system,
    host: printable(where.host),
    database: where.database,
    method,
  }
  const statements = new Statements(where.system, log.query)
  const open = driver.open.bind(driver)
  driver.open = async (credential, context) => {
    const begunAt = performance.now()
    let phase: string = 'connect'
    const watched: OpenContext = {
      ...context,
      enter: (next) => {
        phase = next
        context.enter(next)
      },
    }
    const common = { ...place, identity: credential.identity, credential: credential.kind }
    let raw: Raw
    try {
      raw = await open(credential, watched)
    } catch (error) {
      const facts = { outcome: 'failure', ...codesOf(error), phase, duration_ms: since(begunAt), ...common }
      await log.settle(AuditLine.of('authentication', facts, processPart()))
      throw error
    }
    const session = new Part({ ...common, ...sessionFacts(driver, raw, credential), ...processFacts() })
    try {
      const facts = { outcome: 'success', duration_ms: since(begunAt) }
      await log.settle(AuditLine.of('authentication', facts, session))
    } catch (error) {
      driver.abort(raw)
      throw error
    }
    driver.watch?.(raw, new SessionWatcher(log, statements, session))
    return raw
  }
  events.on('credential:failed', ({ error }) => {
    const facts = { outcome: 'failure', ...codesOf(error), phase: error.phase, ...place }
    log.take(AuditLine.of('authentication', facts, processPart()))
  })
  events.on('audit', ({ kind, poolName, system, host, port, ...facts }) => {
    // Its failure is told as audit:failed.
    log.record({ kind, ...facts } as AuditFacts, new Part(place)).catch(() => undefined)
  })
}

function sessionFacts<Raw extends object>(driver: Driver<Raw>, raw: Raw, credential: Credential): object {
  const { user, database, peer, client, processId, authentication, encryption, kerberos } = driver.info(raw)
  return {
    identity: kerberos?.principal ?? credential.identity,
    user,
    database,
    authentication,
    encryption: encryption.kind,
    server: peer,
    client,
    session: processId,
  }
}

class SessionWatcher implements StatementWatcher {
  readonly #log: AuditLog
  readonly #statements: Statements
  readonly #session: Part

  constructor(log: AuditLog, statements: Statements, session: Part) {
    this.#log = log
    this.#statements = statements
    this.#session = session
  }

  begin(...[text, values, operation]: Parameters<StatementWatcher['begin']>): WatchedStatement | undefined {
    if (isOwnWork()) return undefined
    const { refusal } = this.#log
    if (refusal !== undefined) throw refusal
    const statement = this.#statements.partOf(text, values, operation)
    return new Statement(this.#log, statement, this.#session)
  }
}

class Statement implements WatchedStatement {
  readonly #log: AuditLog
  readonly #parts: readonly Part[]
  readonly #begunAt = performance.now()
  #streams = false
  #hasEnded = false

  constructor(log: AuditLog, statement: Part, session: Part) {
    this.#log = log
    this.#parts = [statement, session, currentContext()]
  }

  streams(): void {
    this.#streams = true
    // Under `on` the line at the end is enough.
    if (this.#log.mode === 'required') this.#log.takeNow(this.#line('data_access', { outcome: 'started' }))
  }

  ended({ error, rows }: StatementEnd): Promise<void> | undefined {
    if (this.#hasEnded) return undefined
    this.#hasEnded = true
    const line = this.#lineOf(error, rows)
    if (!this.#streams) return this.#log.settle(line)
    this.#log.take(line)
    return undefined
  }

  #lineOf(error: unknown, rows: number | undefined): AuditLine {
    if (error === undefined) return new SuccessLine(rows, this.#begunAt, this.#parts)
    const duration_ms = since(this.#begunAt)
    const codes = codesOf(error)
    if (REFUSED.has(codes.server_code ?? codes.code)) {
      return this.#line('authorization', { outcome: 'denied', ...codes, duration_ms })
    }
    return this.#line('data_access', { outcome: 'failure', ...codes, duration_ms })
  }

  #line(kind: 'data_access' | 'authorization', facts: Readonly<Record<string, unknown>>): AuditLine {
    return AuditLine.of(kind, facts, ...this.#parts)
  }
}

/**
 * The SQLSTATE of insufficient_privilege (PostgreSQL Documentation, "PostgreSQL Error Codes"), and the numbers of SQL Server
 * for a permission that is denied: on an object, a column, a database, the server, to a database (sys.messages).
 */
const REFUSED: ReadonlySet<string> = new Set(['42501', '229', '230', '262', '297', '300', '916', '15247'])

interface Codes {
  readonly code: string
  readonly server_code?: string | undefined
}

/** The code of ours, and the server's: SQLSTATE or number. No message: it may hold values. */
function codesOf(error: unknown): Codes {
  const { number, details } = (error ?? {}) as {
    readonly number?: unknown
    readonly details?: { readonly sqlstate?: unknown; readonly number?: unknown }
  }
  const own = errorCode(error) ?? 'UNKNOWN'
  if (error instanceof PoolsmithError) {
    const server = details?.sqlstate ?? details?.number
    return { code: own, server_code: server === undefined ? undefined : String(server) }
  }
  return { code: number === undefined ? own : String(number) }
}

function since(begunAt: number): number {
  return rounded(performance.now() - begunAt)
}
