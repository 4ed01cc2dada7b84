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
