/** The door `poolsmith/rotation`: how old credentials are, changing them, and API keys. */

import '../supported-node.ts'

export { ApiKeys, type ApiKeysOptions, type NewApiKey, type NewKeyOptions } from './api-keys/api-keys.ts'
export type { ApiKeyInfo } from './api-keys/entries.ts'
export { openApiKeys } from './api-keys/open-api-keys.ts'
export type { CertificateStep } from './certificate-place.ts'
export { type CheckRotationOptions, checkRotation, type RotationReport } from './check-rotation.ts'
export type { CredentialAge, FoundCredential } from './credential-age.ts'
export type { KeytabStep } from './keytab-rotation.ts'
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
export {
  type CertificateRotated,
  type RotateCertificateOptions,
  rotateCertificate,
} from './rotate-certificate.ts'
export { type KeytabRotated, type RotateKeytabOptions, rotateKeytab } from './rotate-keytab.ts'
