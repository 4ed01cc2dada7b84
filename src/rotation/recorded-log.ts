import type { RecordedAudit } from '../audit/attach.ts'
import type { AuditRecorder } from '../audit-facts.ts'

/** The log that takes the lines of one operation. Disposing of it closes a log of the record's own. */
export interface OperationLog extends AsyncDisposable {
  readonly recorder: AuditRecorder | undefined
}

/**
 * The given log, or the one that the record names (`audit_file`).
 *
 * @param options all options of the record
 * @throws PoolsmithError AUDIT_FILE_REFUSED
 */
export async function operationLog(
  given: AuditRecorder | undefined,
  options: Readonly<Record<string, unknown>>,
): Promise<OperationLog> {
  const recorded = options as unknown as RecordedAudit
  if (given !== undefined || recorded.audit_file === undefined || recorded.audit === 'off') {
    return { recorder: given, [Symbol.asyncDispose]: async () => undefined }
  }
  const { recordedLog } = await import('../audit/attach.ts')
  const log = recordedLog(recorded)
  return { recorder: log, [Symbol.asyncDispose]: () => log.close() }
}
