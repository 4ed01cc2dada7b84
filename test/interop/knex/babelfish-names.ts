/**
 * Preloaded into both runs of knex's tests over Babelfish, which names the column of an expression after its function;
 * SQL Server gives it no name, and knex looks for the number of changed rows there.
 */

import MssqlDialect from 'knex/lib/dialects/mssql/index.js'

interface Query {
  readonly sql?: string
  readonly response?: readonly (readonly { readonly metadata: { colName: string } }[])[]
}

const FUNCTIONS: ReadonlySet<string> = new Set(['rowcount', 'count', 'sum', 'avg', 'min', 'max'])

const dialect = MssqlDialect.prototype as unknown as { processResponse(query: Query, runner: object): unknown }
const { processResponse } = dialect
dialect.processResponse = function (query, runner) {
  for (const row of query?.response ?? []) {
    for (const { metadata } of row) {
      if (FUNCTIONS.has(metadata.colName) && !query.sql?.includes(`[${metadata.colName}]`)) metadata.colName = ''
    }
  }
  return processResponse.call(this, query, runner)
}
