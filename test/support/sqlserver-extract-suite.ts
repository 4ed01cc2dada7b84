/**
 * The contract of an extract over SQL Server, in T-SQL alone. It runs over the test double always, and over a real
 * server where there is one.
 */

import { after, before, describe } from 'node:test'
import type { Engine } from '../../src/index.ts'
import type { PoolOptions } from '../../src/pool/options.ts'
import { markTests } from './sqlserver-extract-marks.ts'
import { partTests } from './sqlserver-extract-parts.ts'
import { selectTests } from './sqlserver-extract-select.ts'
import { SqlServerTables } from './sqlserver-extract-tables.ts'

export interface SqlServerSide {
  readonly name: string
  /** The reason to skip the suite here. */
  readonly skip?: string | false
  open(options?: PoolOptions): Promise<Engine>
}

export function sqlServerExtractSuite(side: SqlServerSide): void {
  const tables = new SqlServerTables()

  describe(`${side.name}: extract`, { skip: side.skip ?? false }, () => {
    before(async () => tables.open(await side.open()))
    after(() => tables.close())
    selectTests(tables)
    markTests(tables)
    partTests(tables, (options) => side.open(options))
  })
}
