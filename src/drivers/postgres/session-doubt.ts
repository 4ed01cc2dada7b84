/** Errors of statements after which a session must not be handed out again, or must be checked first. */

/** read_only_sql_transaction */
const READ_ONLY = '25006'

/**
 * Errors after which a named statement always fails on this session, because pg's list of named statements is outdated
 * (SQLSTATE, and the routine of the server where the code has other meanings too).
 */
const OUTDATED_STATEMENTS: readonly { readonly code: string; readonly routine?: string }[] = [
  { code: '0A000', routine: 'RevalidateCachedQuery' }, // cached plan must not change result type
  { code: '26000' }, // prepared statement does not exist
]

interface ServerError {
  readonly code?: string | undefined
  readonly routine?: string | undefined
}

/** Whether a write was refused as read-only. */
export function isReadOnlyRefusal({ code }: ServerError): boolean {
  return code === READ_ONLY
}

/** Whether an error shows that pg's list of named statements is outdated. */
export function outdatesSession(error: ServerError): boolean {
  return OUTDATED_STATEMENTS.some(({ code, routine }) => {
    return error.code === code && (routine === undefined || error.routine === routine)
  })
}
