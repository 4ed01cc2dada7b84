/** The door `poolsmith/kysely`: Kysely's dialects over a pool of ours. */

export { postgresDialect } from './postgres-dialect.ts'
export { sqlServerDialect } from './sqlserver-dialect.ts'
