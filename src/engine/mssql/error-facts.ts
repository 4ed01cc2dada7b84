import type mssql from 'mssql'
import { sqlServerAdvice } from '../../drivers/sqlserver/statement-error.ts'
import { PoolsmithError } from '../../errors.ts'

type MssqlErrors = (typeof mssql)['RequestError']
type MssqlError = InstanceType<MssqlErrors>

const FACTS: Readonly<Record<string, (error: MssqlError) => unknown>> = {
  phase: ({ originalError }) => (originalError instanceof PoolsmithError ? originalError.phase : 'query'),
  transient: (error) => known(error).transient === true,
  hint: (error) => known(error).hint,
}

/** mssql makes its own errors and keeps the driver's as `originalError`. */
function known(error: MssqlError): { readonly transient?: boolean; readonly hint?: string | undefined } {
  const { originalError } = error
  if (originalError instanceof PoolsmithError) return originalError
  return sqlServerAdvice(error.number === undefined ? ((originalError as MssqlError | undefined) ?? error) : error)
}

/**
 * Gives mssql's classes of errors `phase`, `transient` and `hint`, which are computed when they are read. They are
 * properties of the prototype, because mssql has no place where a single error could be completed.
 */
export function addFacts(classes: readonly MssqlErrors[]): void {
  for (const { prototype } of classes) {
    for (const [name, get] of Object.entries(FACTS)) {
      if (name in prototype) continue
      Object.defineProperty(prototype, name, {
        configurable: true,
        get(this: MssqlError) {
          return get(this)
        },
        // An error may get a property of its own by this name.
        set(this: MssqlError, value: unknown) {
          Object.defineProperty(this, name, { value, writable: true, enumerable: true, configurable: true })
        },
      })
    }
  }
}
