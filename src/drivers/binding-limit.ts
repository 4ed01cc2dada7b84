import { PoolsmithError } from '../errors.ts'

/** How many bindings a statement may have. */
export interface BindingLimit {
  readonly most: number
  /** The end of a sentence that says where the limit comes from. */
  readonly why: string
  /** The advice for plain SQL; a data layer may know better. */
  readonly hint: string
}

/** The message Bind counts its parameters in 16 bits (PostgreSQL Documentation, "Message Formats"). */
export const POSTGRES_BINDINGS: BindingLimit = {
  most: 65_535,
  why: 'PostgreSQL takes at most 65535',
  hint: 'Send fewer rows in one statement, or one array for each column: insert … select * from unnest($1::int[], $2::text[]).',
}

/** The parameters that a procedure may have. */
const SQLSERVER_PARAMETERS = 2100
/** Of these, sp_executesql takes the text and the declarations. */
const SQLSERVER_OWN = 2

export const SQLSERVER_BINDINGS: BindingLimit = {
  most: SQLSERVER_PARAMETERS - SQLSERVER_OWN,
  why: 'SQL Server takes at most 2100 parameters, 2 of which are the statement itself',
  hint: 'Send fewer rows in one statement, or load them in bulk.',
}

/** The refusal of a statement with too many bindings: PostgreSQL would take it for one with 65,536 fewer. */
export function tooManyBindings(bindings: number, { most, why, hint }: BindingLimit): PoolsmithError | undefined {
  if (bindings <= most) return undefined
  return new PoolsmithError(`The statement has ${bindings} bindings, and ${why}; it was not sent.`, {
    code: 'TOO_MANY_BINDINGS',
    phase: 'query',
    hint,
    details: { bindings, limit: most },
  })
}
