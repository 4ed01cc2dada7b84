import type { Dialect } from '../../src/connections/connection.ts'
import type { Field, Fields } from '../../src/connections/fields.ts'
import { proxyFields } from '../../src/drivers/network/proxy/options.ts'
import { postgresFields } from '../../src/drivers/postgres/options.ts'
import { sqlServerFields } from '../../src/drivers/sqlserver/options.ts'
import { auditFields, engineFields } from '../../src/engine/options.ts'
import { poolFields } from '../../src/pool/options.ts'
import { storeFields } from '../../src/stores/fields.ts'
import { strategies } from '../../src/strategies/index.ts'

/** One spelling of one option, and a type of connection that reads it. */
export interface OptionSpelling {
  readonly key: string
  readonly field: Field<unknown>
  readonly type: Dialect
  readonly authMethod: string | undefined
}

function spellings(table: Fields, type: Dialect, authMethod?: string): OptionSpelling[] {
  return Object.entries(table).flatMap(([name, field]) =>
    [name, ...field.aliases].map((key) => ({ key, field, type, authMethod })),
  )
}

/** Every option of every field table, under every name. */
export const OPTION_SPELLINGS: readonly OptionSpelling[] = [
  ...[engineFields, auditFields, poolFields, proxyFields, postgresFields, storeFields].flatMap((table) =>
    spellings(table, 'postgres'),
  ),
  ...spellings(sqlServerFields, 'mssql'),
  ...strategies
    .list()
    .flatMap(({ fields, dialects, name }) => dialects.flatMap((type) => spellings(fields, type, name))),
]
