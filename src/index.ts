/** The main door, `poolsmith`: engines, connections, strategies, credentials, the pool, errors. */

import './supported-node.ts'

export type { Connection, Dialect } from './connections/connection.ts'
export { describeConnection } from './connections/describe.ts'
export {
  boolean,
  type Field,
  type Fields,
  integer,
  list,
  oneOf,
  path,
  seconds,
  secret,
  text,
  type ValuesOf,
} from './connections/fields.ts'
export { toAirflowUri } from './connections/forms/airflow-uri.ts'
export { toAirflowJson } from './connections/forms/json-text.ts'
export { type ConnectionInput, type ConnectionObject, parseConnection } from './connections/parse.ts'
export type {
  CertificateCredential,
  Credential,
  CredentialSource,
  GssCredential,
  NtlmCredential,
  PasswordCredential,
  TokenCredential,
} from './credentials/credential.ts'
export { type RefreshingSourceOptions, refreshingSource } from './credentials/refreshing-source.ts'
export { staticSource } from './credentials/static-source.ts'
export type {
  Driver,
  EncryptionInfo,
  KerberosInfo,
  Notification,
  OpenContext,
  ProxyInfo,
  SessionInfo,
} from './drivers/driver.ts'
export { createEngine, type Engine, type EngineOptions } from './engine/knex/create-engine.ts'
export type { KnexOptions, MapBinding } from './engine/knex/knex-options.ts'
export { type SqlServerType, type TypedValue, type TypeSize, typed } from './engine/knex/typed-value.ts'
export { withSignal } from './engine/knex/with-signal.ts'
export {
  createMssqlPool,
  type MssqlConnectionPool,
  type MssqlPoolExtras,
  type MssqlPoolOptions,
} from './engine/mssql/create-mssql-pool.ts'
export { ERROR_CODES, type ErrorCode } from './error-codes.ts'
export { ConfigError, type ConfigProblem, type Phase, PoolsmithError } from './errors.ts'
export type {
  CloseReason,
  DatabaseSystem,
  EventFacts,
  EventName,
  EventOrigin,
  PlaceRole,
  PoolsmithEvents,
} from './events.ts'
export type { Place, PlaceFacts, PlaceName, SessionPlace } from './hosts/place.ts'
export type { Listener } from './pool/events.ts'
export type { PoolOptions } from './pool/options.ts'
export { ConnectionPool } from './pool/pool.ts'
export type {
  AcquireOptions,
  ConnectionInfo,
  ConnectionPoolConfig,
  ListenOptions,
  NotificationHandler,
  PlaceStats,
  PlaceVisit,
  PoolStats,
} from './pool/types.ts'
export { Secret } from './secret.ts'
export type { ListedConnection, StoreOptions } from './stores/options.ts'
export { findConnection, listConnections, resolveConnection } from './stores/resolve.ts'
export { register, strategies } from './strategies/index.ts'
export { StrategyRegistry } from './strategies/registry.ts'
export { defineStrategy, type Strategy, type StrategyContext } from './strategies/strategy.ts'
