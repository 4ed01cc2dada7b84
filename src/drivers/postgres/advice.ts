import type { ErrorCode } from '../../errors.ts'

/** The meaning of an error that a server or a pooler sends during the login. */
export interface Advice {
  readonly code: ErrorCode
  readonly hint: string
  readonly transient?: boolean
}
