import type { Dialect } from '../connections/connection.ts'
import type { Fields } from '../connections/fields.ts'
import { didYouMean, nearest } from '../did-you-mean.ts'
import { PoolsmithError } from '../errors.ts'
import type { Strategy } from './strategy.ts'

/**
 * The strategies by name. A name (or alias) belongs to one strategy for each dialect: `password` may mean one thing
 * for PostgreSQL and another for SQL Server.
 */
export class StrategyRegistry {
  readonly #strategies: Strategy[] = []

  /**
   * Adds a strategy.
   *
   * @throws PoolsmithError CONFIG_INVALID when its name or an alias is taken for one of its dialects
   */
  register<F extends Fields>(strategy: Strategy<F>): void {
    for (const dialect of strategy.dialects) {
      for (const name of namesOf(strategy)) {
        const holder = this.#find(dialect, name)
        if (holder === undefined) continue
        throw new PoolsmithError(`The strategy name ${name} is taken for ${dialect} by ${holder.name}.`, {
          code: 'CONFIG_INVALID',
          phase: 'config',
          hint: 'Register each strategy once, and give your own a name of its own.',
          details: { strategy: strategy.name, dialect },
        })
      }
    }
    // A table of fields is only ever read through the strategy that it came with.
    this.#strategies.push(strategy as unknown as Strategy)
  }

  /**
   * The strategy that `auth_method` names; without one, the strategy `password`.
   *
   * @throws PoolsmithError STRATEGY_UNKNOWN with the names that there are
   */
  select(dialect: Dialect, name = 'password'): Strategy {
    const found = this.#find(dialect, name)
    if (found !== undefined) return found
    const names = this.list(dialect).map((strategy) => strategy.name)
    const near = nearest(
      name,
      this.list(dialect).flatMap((strategy) => namesOf(strategy)),
    )
    const elsewhere = this.#strategies.find((strategy) => namesOf(strategy).includes(name))
    const told =
      near !== undefined
        ? `; ${didYouMean([near])}`
        : elsewhere === undefined
          ? '.'
          : `, only for ${elsewhere.dialects.join(', ')}.`
    throw new PoolsmithError(`There is no strategy ${JSON.stringify(name)} for ${dialect}${told}`, {
      code: 'STRATEGY_UNKNOWN',
      phase: 'config',
      hint:
        names.length === 0
          ? `Register a strategy for ${dialect} first.`
          : `Set auth_method to one of ${names.join(', ')}, or register your own.`,
      details: { name, dialect, known: names },
    })
  }

  /** All strategies, or those of one dialect, in the order of their registration. */
  list(dialect?: Dialect): readonly Strategy[] {
    return dialect === undefined
      ? [...this.#strategies]
      : this.#strategies.filter((strategy) => strategy.dialects.includes(dialect))
  }

  #find(dialect: Dialect, name: string): Strategy | undefined {
    return this.list(dialect).find((strategy) => namesOf(strategy).includes(name))
  }
}

function namesOf(strategy: Strategy<Fields>): readonly string[] {
  return [strategy.name, ...(strategy.aliases ?? [])]
}
