/** The selection that a caller makes with knex, compiled to SQL and values: the same for every database. */

import type { Knex } from 'knex'
import { isError } from '../../../any-error.ts'
import { PoolsmithError } from '../../../errors.ts'
import type { ExtractEngine, QuerySource, WhereCallback } from '../table.ts'

/** A piece of SQL, with its values apart from it. */
export interface CompiledSql {
  /** As knex writes it: `?` for each value, `\?` for a question mark. */
  readonly sql: string
  readonly bindings: readonly unknown[]
}

/** The select that knex makes of conditions alone. */
const BARE = 'select * where '

/**
 * The conditions that the callback adds; undefined when it adds none.
 *
 * @throws PoolsmithError CONFIG_INVALID when it does anything but add conditions, or knex cannot compile them
 */
export function compileWhere(engine: ExtractEngine, where: WhereCallback): CompiledSql | undefined {
  const { queryBuilder } = engine
  if (typeof queryBuilder !== 'function') {
    throw invalid('`where` needs an engine that builds queries.', 'Pass the engine that createEngine returns.')
  }
  return compiling('`where`', () => {
    const plain: Knex.QueryBuilder = queryBuilder.call(engine)
    where(plain)
    const grouped: Knex.QueryBuilder = queryBuilder.call(engine).where((group) => {
      where(group)
    })
    const whole = sqlOf(plain)
    const { sql, bindings } = sqlOf(grouped)
    const conditions = strip(sql)
    // Joins, limits and the like show in the whole statement, but not in the group.
    if (whole.sql !== (conditions === '' ? 'select *' : `${BARE}${conditions}`)) {
      throw invalid(
        '`where` does more than add conditions.',
        'Use where... methods only; for joins, limits and columns extract a query: { query, name }.',
      )
    }
    return conditions === '' ? undefined : { sql: conditions, bindings }
  })
}

/** A query's SQL; a string is taken as it is. */
export function compileQuery(source: QuerySource): CompiledSql | string {
  const { query } = source
  if (typeof query === 'string') return query
  if ('values' in query) {
    throw invalid('`query` has its values in the form of a plan of SQL Server.', 'Run a plan where it was made for.')
  }
  return compiling('`query`', () => {
    const { method } = query.toSQL() as { readonly method?: string }
    if (method !== undefined && !['select', 'raw', 'first', 'pluck'].includes(method)) {
      throw invalid(`\`query\` is not a select, but ${method}.`, 'Extract a query that returns rows.')
    }
    return sqlOf(query)
  })
}

function sqlOf(query: Knex.QueryBuilder | Knex.Raw): CompiledSql {
  const { sql, bindings } = query.toSQL()
  return { sql, bindings: bindings ?? [] }
}

/** Takes the select and the brackets of the group away. */
function strip(sql: string): string {
  return sql.startsWith(`${BARE}(`) ? sql.slice(BARE.length + 1, -1) : ''
}

function compiling<T>(what: string, compile: () => T): T {
  try {
    return compile()
  } catch (error) {
    if (error instanceof PoolsmithError || !isError(error)) throw error
    // knex puts values into some of its messages; they may be secret, so the message is not repeated.
    const isUndefined = /^Undefined binding/.test(error.message)
    throw invalid(
      `${what} cannot be compiled${isUndefined ? ': a value is undefined' : ''}.`,
      'See the cause for the message of knex.',
      error,
    )
  }
}

export function invalid(message: string, hint: string, cause?: unknown): PoolsmithError {
  return new PoolsmithError(message, { code: 'CONFIG_INVALID', phase: 'config', hint, cause })
}
