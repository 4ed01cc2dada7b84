/** The door `poolsmith/audit`: the log of logins, statements, refusals and operations on credentials. */

import '../supported-node.ts'

export type {
  ApiKeyFacts,
  AuditFacts,
  AuditRecorder,
  ExtractFacts,
  RotationFacts,
  SecretFacts,
} from '../audit-facts.ts'
export { type AuditContext, withAuditContext } from './context.ts'
export type { AuditEvent, AuditEventKind } from './line.ts'
export { AuditLog, openAuditLog } from './log.ts'
export { type OpenTelemetryLogger, openTelemetryLogs } from './open-telemetry.ts'
export type { AuditLogger, AuditOptions } from './options.ts'
export { queryHash } from './statement.ts'
export {
  type AuditFault,
  type AuditVerdict,
  type AuditVerification,
  type VerifiedChain,
  verifyAudit,
} from './verify.ts'
