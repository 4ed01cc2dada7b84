/** The door `poolsmith/pg`: a `pg.Pool` for code and data layers that are written against that class. */

import '../../supported-node.ts'

export { createPgPool, type PgPoolOptions } from './create-pg-pool.ts'
export type { AbortableQuery, PgPool, PgPoolClient } from './pool-class.ts'
