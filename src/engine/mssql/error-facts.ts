import type mssql from 'mssql'
import { sqlServerAdvice } from '../../drivers/sqlserver/statement-error.ts'
import { PoolsmithError } from '../../errors.ts'

type MssqlErrors = (typeof mssql)['RequestError']
type MssqlError = InstanceType<MssqlErrors>

const FACTS: Readonly<Record<string, (error: MssqlError) => unknown>> = {
  phase: ({ originalError }) => (originalError instanceof PoolsmithError ? originalError.phase : 'query'),
  // After a commit whose answer was lost it is not known whether it happened.
  transient: (error) =>
    !(error.name === 'TransactionError' && error.code === 'CONNECTION_LOST') && known(error).transient === true,
  hint: (error) => known(error).hint,
}

/** mssql makes its errors itself, and hands over the driver's as `originalError`. */
function known(error: MssqlError): { readonly transient?: boolean; readonly hint?: string | undefined } {
  const { originalError } = error
  if (originalError instanceof PoolsmithError) return originalError
  return sqlServerAdvice(error.number === undefined ? ((originalError as MssqlError | undefined) ?? error) : error)
}

/**
 * Gives mssql's classes of errors what every failed statement has with us: `phase`, `transient` and `hint`, worked out
 * when they are read. They stand on the prototype, since mssql has no place where an error could be completed.
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
        // As it would be without us.
        set(this: MssqlError, value: unknown) {
          Object.defineProperty(this, name, { value, writable: true, enumerable: true, configurable: true })
        },
      })
    }
  }
}
