/** The door `poolsmith/rotation`: how old the credentials of connections are, and what is due. */

import '../supported-node.ts'

export { type CheckRotationOptions, checkRotation, type RotationReport } from './check-rotation.ts'
export type { CredentialAge, FoundCredential } from './credential-age.ts'
export type { RotationStep } from './password-rotation.ts'
export type {
  CredentialKind,
  Life,
  PolicyOptions,
  RotationPolicy,
  RotationRule,
  RotationStatus,
} from './policy.ts'
export { type RotateOptions, type RotationResult, rotate } from './rotate.ts'
