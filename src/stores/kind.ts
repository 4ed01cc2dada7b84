import type { RequestAgents } from '../strategies/strategy.ts'
import type { CacheOptions } from './cache.ts'

/** Where a store is opened. */
export interface StoreKindContext extends CacheOptions {
  readonly environment: Readonly<Record<string, string | undefined>>
  /** The folder to which paths are relative. */
  readonly cwd: string
  /** Where requests to stores go through a proxy. */
  readonly agents?: RequestAgents | undefined
  /** How errors name the settings. */
  readonly subject: string
}
