import { boolean, oneOf, path, text, type ValuesOf } from '../connections/fields.ts'

/** Extras that apply to every connection, whatever its strategy and driver. */
export const engineFields = {
  auth_method: text({
    pattern: { matches: /^[\w.-]{1,64}$/, expected: 'the name of a strategy' },
    description:
      'The strategy that proves who we are. Default: `password`; for SQL Server `sql_auth`, and `kerberos` for a connection without a login.',
  }),
  strict_extras: boolean({
    default: false,
    description: 'Make every unknown key in the extras an error instead of a warning.',
  }),
}

/** The audit log, for programs that are configured by records alone. */
export const auditFields = {
  audit: oneOf(['off', 'on', 'required'], {
    description:
      'Write a line for each login, refusal and statement ([audit.md](audit.md)). `required`: a line is durable before the answer reaches the caller, and an operation fails if it cannot be. Default: `on` with `audit_file`, else `off`.',
  }),
  audit_file: path({
    description: 'The file that the lines are appended to. Default: the log in the options of the call.',
  }),
  audit_chain: boolean({
    default: false,
    description: 'Put the hash of the line before into each line of `audit_file`, for `poolsmith audit verify`.',
  }),
  audit_query: oneOf(['hash', 'text', 'values'], {
    default: 'hash',
    description:
      'What a line has of a statement: the hash of its text without values, that text too, or the text as it was sent with its parameters, which may be secrets.',
  }),
}

export type AuditSettings = ValuesOf<typeof auditFields>
