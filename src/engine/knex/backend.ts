import type { ConnectionPool } from '../../pool/pool.ts'
import type { BuiltPool } from '../build-pool.ts'
import type { DialectParts } from '../dialect.ts'
import type { MapBinding } from './knex-options.ts'
import type { KnexMarks } from './time-limit.ts'

/** The pool and the driver's parts that a client of knex works with: others after `destroy()` and `initialize()`. */
export class ClientBackend {
  #built: Pick<BuiltPool, 'pool' | 'parts'>
  readonly #build: () => Promise<Pick<BuiltPool, 'pool' | 'parts'>>
  #reopening: Promise<void> | undefined
  readonly mapBinding: MapBinding | undefined

  /** @param build makes another pool of the same connection */
  constructor(
    built: Pick<BuiltPool, 'pool' | 'parts'>,
    build: () => Promise<Pick<BuiltPool, 'pool' | 'parts'>>,
    mapBinding?: MapBinding,
  ) {
    this.#built = built
    this.#build = build
    this.mapBinding = mapBinding
  }

  get pool(): ConnectionPool<object> {
    return this.#built.pool
  }

  get parts(): DialectParts {
    return this.#built.parts
  }

  /** While a pool is being made in place of the one that has ended. It stays when that failed, with the error. */
  get reopening(): Promise<void> | undefined {
    return this.#reopening
  }

  /** Names a connection for knex's events, by which loggers tell connections apart: by the id that our events have. */
  name(connection: KnexMarks): void {
    connection.__knexUid ??= `__knexUid${this.pool.infoOf(connection)?.id}`
  }

  /** Makes a pool in place of one that has ended. */
  reopen(onOpen: () => void): void {
    const reopening = this.#reopen().then(onOpen)
    this.#reopening = reopening
    // The callers that wait for it are told; there may be none.
    reopening.catch(() => undefined)
  }

  async #reopen(): Promise<void> {
    await this.#built.pool.destroy()
    this.#built = await this.#build()
    this.#reopening = undefined
  }

  async destroy(): Promise<void> {
    await this.#reopening?.catch(() => undefined)
    this.#reopening = undefined
    await this.#built.pool.destroy()
  }
}
