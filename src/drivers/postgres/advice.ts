import type { ErrorCode } from '../../errors.ts'

/** The meaning of an error that a server or a pooler sends during the login. */
export interface Advice {
  readonly code: ErrorCode
  readonly hint: string
  readonly transient?: boolean
}

/** For a certificate that is valid and names another user. */
export const CERTIFICATE_HINT =
  'The server has verified the client certificate, but does not accept its name (CN) for this user. Connect as the user ' +
  'that it names, or map it in pg_ident.conf (map=). The log of the server says which name it saw.'
