/** The door `poolsmith/kysely`: Kysely's dialects over a pool of ours. */

import '../../supported-node.ts'

export { type PooledDialect, postgresDialect } from './postgres-dialect.ts'
export { sqlServerDialect } from './sqlserver-dialect.ts'
