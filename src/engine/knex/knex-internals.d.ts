// knex publishes no types for its dialect classes and its runner; third-party dialects extend these all the same.
declare module 'knex/lib/dialects/postgres/index.js' {
  import type { Transform } from 'node:stream'
  import { Knex } from 'knex'

  export default class PostgresClient extends Knex.Client {
    constructor(config: Knex.Config)
    _query(connection: object, query: { sql: string; bindings?: unknown[] }): Promise<unknown>
    _stream(
      connection: object,
      query: { sql: string; bindings?: unknown[] },
      stream: Transform,
      options: object,
    ): Promise<unknown>
  }
}

declare module 'knex/lib/dialects/mssql/index.js' {
  import type { Transform } from 'node:stream'
  import { Knex } from 'knex'
  import type { Request } from 'tedious'

  export default class MssqlClient extends Knex.Client {
    constructor(config: Knex.Config)
    /** Of a client that serves one transaction. */
    readonly transacting?: boolean
    wrapIdentifierImpl(value: string): string
    parameter(value: unknown, builder: object, bindingsHolder: object): string
    _typeForBinding(binding: unknown): [value: unknown, type: unknown]
    _setReqInput(request: Request, index: number, binding: unknown): void
    _assignBindings(request: Request, bindings: unknown): void
    _query(connection: object, query: { sql: string; bindings?: unknown[] }): Promise<unknown>
    _stream(
      connection: object,
      query: { sql: string; bindings?: unknown[] },
      stream: Transform,
      options: object,
    ): Promise<unknown>
  }
}

declare module 'knex/lib/util/timeout.js' {
  export class KnexTimeoutError extends Error {}
  /** @throws KnexTimeoutError after so many milliseconds */
  export function timeout<T>(work: Promise<T>, millis: number): Promise<T>
}

declare module 'knex/lib/execution/runner.js' {
  import type { Transform } from 'node:stream'
  import type { Knex } from 'knex'

  /** A compiled statement. */
  export interface Compiled {
    readonly sql: string
    readonly bindings?: readonly unknown[]
    /** Milliseconds. */
    timeout?: number | false | undefined
    readonly cancelOnTimeout?: boolean
  }

  export interface StreamParameters {
    readonly stream: Transform
    readonly options: object
    readonly hasHandler: boolean
  }

  /** Runs the statements of one builder, on one connection. */
  export default class Runner {
    constructor(client: Knex.Client, builder: object)
    readonly client: Knex.Client
    readonly builder: {
      /** A connection of the caller's. */
      readonly _connection?: object
      toSQL(): Compiled | Compiled[]
    }
    connection: object | undefined
    query(compiled: Compiled): Promise<unknown>
    ensureConnection(callback: object, parameters?: StreamParameters): Promise<unknown>
  }
}
