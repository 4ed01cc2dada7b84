import type { Connection } from '../connections/connection.ts'
import type { ReadConnection } from '../connections/parse.ts'
import type { Environment } from '../connections/stores/environment.ts'
import type { ConfigError, ConfigProblem } from '../errors.ts'
import type { RequestAgents } from '../strategies/strategy.ts'
import type { StoreSettings } from './kinds.ts'
import type { OpenedStores } from './opened.ts'
import type { Origin, Store } from './store.ts'

/**
 * Where connections are looked up, in this order: `POOLSMITH_CONN_<ID>`, the secrets backend of an Airflow worker where its
 * variables name one, `AIRFLOW_CONN_<ID>`, one connections file, and the stores that the file or `stores` lists. A store
 * that fails ends the search.
 */
export interface StoreOptions {
  /** Default `process.env`. */
  readonly environment?: Environment
  /**
   * The connections file, relative to `cwd`. Default: the one that `POOLSMITH_CONNECTIONS_FILE` names, else
   * `connections.yaml`, `connections.yml` or `connections.json` in `cwd`, where there is one.
   */
  readonly file?: string | undefined
  /** Default: the working folder of the process. */
  readonly cwd?: string
  /**
   * The team of Airflow whose connections come before those of all teams: `AIRFLOW_CONN__<TEAM>___<ID>` in the
   * environment, `<team>___<id>` in the file. Default: `POOLSMITH_TEAM`, else no team.
   */
  readonly team?: string | undefined
  /** The stores that are asked last, in place of those under `stores:` in the connections file. */
  readonly stores?: readonly (Store | StoreSettings)[] | undefined
  /**
   * Agents of Node for requests to stores, such as those of a proxy. Default: those of the option `proxy`, where
   * `createEngine` has it beside the record (a record cannot name the way to itself).
   */
  readonly agents?: RequestAgents | undefined
  /** Stores that `openStores` of poolsmith/secrets opened. They stay open and keep what they gave. */
  readonly opened?: OpenedStores
  /** Called for a file that holds secrets and that other users may read, and for keys of a form that are left out. */
  readonly onWarning?: ((warning: ConfigProblem) => void) | undefined
}

/** A connection as it was read, and the store that can be asked for it again. */
export interface LookedUp extends ReadConnection {
  readonly origin?: Origin | undefined
}

/** One connection of {@link listConnections}: `connection`, or `error` with its problems. */
export type ListedConnection = {
  readonly id: string
  /** `environment variable NAME` or `file PATH`. */
  readonly store: string
  /** True when a store that is searched before this one has the same id. */
  readonly shadowed: boolean
  /** Keys of its form that were left out, each with the reason. */
  readonly notes: readonly ConfigProblem[]
  /** Whether an option that is unknown is an error, because its form has no place for others. */
  readonly closed: boolean
} & (
  | { readonly connection: Connection; readonly error?: undefined }
  | { readonly connection?: undefined; readonly error: ConfigError }
)
