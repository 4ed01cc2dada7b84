import type { EventFacts } from '../events.ts'
import type { EventHub } from '../pool/events.ts'
import { AuditLog } from './log.ts'
import { type AuditOptions, checkAuditOptions } from './options.ts'
import { type AuditedPool, auditPool } from './watch-pool.ts'

/** The options about the audit log in a connection record. */
export interface RecordedAudit {
  readonly audit: 'off' | 'on' | 'required' | undefined
  readonly audit_file: string | undefined
  readonly audit_chain: boolean
  readonly audit_query: 'hash' | 'text' | 'values'
}

/**
 * Has a pool write an audit log: the given one, or one of its own by the options of the call and those of the record.
 *
 * @returns ends that, and closes a log of its own
 * @throws ConfigError; PoolsmithError AUDIT_FILE_REFUSED
 */
export function attachAudit<Raw extends object>(
  given: AuditLog | AuditOptions | undefined,
  recorded: RecordedAudit,
  pool: AuditedPool<Raw>,
): () => void {
  const isGiven = given instanceof AuditLog
  const log = isGiven ? given : new AuditLog(checkAuditOptions(together(given, recorded), 'audit'))
  const stop = log.onFailure((error, lost) => tell(pool.events, { error, lost }))
  if (log.mode !== 'off') auditPool(log, pool)
  const end = (): void => {
    if (!isGiven) void log.close()
    stop()
  }
  pool.events.on('pool:destroyed', end)
  return end
}

/** A log by the options of a record, for operations outside of a pool. */
export function recordedLog(recorded: RecordedAudit): AuditLog {
  return new AuditLog(checkAuditOptions(together(undefined, recorded), 'audit'))
}

function together(given: AuditOptions | undefined, recorded: RecordedAudit): AuditOptions {
  if (given !== undefined && (typeof given !== 'object' || given === null)) return given
  const { audit, audit_file, audit_chain, audit_query } = recorded
  const isElsewhere = given?.logger !== undefined || given?.sink !== undefined
  const defaults = {
    mode: audit ?? 'on',
    query: audit_query,
    ...(isElsewhere ? {} : { file: audit_file, chain: audit_chain }),
  }
  const own = Object.entries(given ?? {}).filter(([, value]) => value !== undefined)
  return { ...defaults, ...Object.fromEntries(own) }
}

function tell(events: EventHub, facts: EventFacts['audit:failed']): void {
  if (!events.interest('audit:failed')()) {
    process.emitWarning(facts.error.message, { type: 'PoolsmithWarning', code: facts.error.code })
  }
  events.emit('audit:failed', facts)
}
