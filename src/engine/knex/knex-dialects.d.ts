// knex publishes no types for its dialect classes, which third-party dialects extend all the same.
declare module 'knex/lib/dialects/postgres/index.js' {
  import type { Transform } from 'node:stream'
  import { Knex } from 'knex'

  export default class PostgresClient extends Knex.Client {
    constructor(config: Knex.Config)
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
