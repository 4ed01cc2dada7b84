/** The databases whose passwords the tests rotate. */

import { PoolsmithError } from '../../../src/errors.ts'
import { createEngine } from '../../../src/index.ts'
import { createPki } from '../pki.ts'
import { startPostgres } from '../postgres.ts'
import type { Flavor } from '../postgres-builds.ts'
import { startTdsServer, type TdsServer } from '../tds/server.ts'

/** The first password of each user. */
export const FIRST = 'First-password-1'

/**
 * A server with the users `etl`, `etl_b` and the administrator `boss`, all with the password {@link FIRST}. It
 * refuses the password `etl` for the user `etl`.
 */
export interface RotationSide extends AsyncDisposable {
  readonly record: {
    readonly type: 'postgres' | 'mssql'
    readonly host: string
    readonly port: number
    readonly database: string
    readonly extra: Readonly<Record<string, unknown>>
  }
  /** Whether the server lets the user in with it. */
  accepts(user: string, password: string): Promise<boolean>
  stop(): Promise<void>
  start(): Promise<void>
  /** Everything that the server has written down or been told in plain. */
  told(): string
  /** SQL Server alone. */
  readonly tds?: TdsServer
}

async function accepts(record: RotationSide['record'], login: string, password: string): Promise<boolean> {
  const options = { pool_size: 1, stores: { environment: {} } }
  await using db = await createEngine({ ...record, login, password }, options)
  try {
    await db.pool.use(async () => undefined)
    return true
  } catch (error) {
    if (error instanceof PoolsmithError && error.code === 'LOGIN_REFUSED') return false
    throw error
  }
}

async function postgresSide(flavor: Flavor): Promise<RotationSide> {
  await using stack = new AsyncDisposableStack()
  const server = stack.use(
    await startPostgres({
      flavor,
      config: { log_statement: 'all', shared_preload_libraries: 'passwordcheck' },
    }),
  )
  await server.sql(`create role etl login password '${FIRST}'; create role etl_b login password '${FIRST}'`)
  await server.sql(`create role boss login createrole password '${FIRST}'`)
  if (flavor === 'embedded') await server.sql('grant etl, etl_b to boss with admin option')
  const record = { type: 'postgres', host: server.host, port: server.port, database: 'postgres', extra: {} } as const
  const held = stack.move()
  return {
    record,
    accepts: (user, password) => accepts(record, user, password),
    stop: () => server.stop('immediate'),
    start: () => server.start(),
    told: () => server.log(),
    [Symbol.asyncDispose]: () => held[Symbol.asyncDispose](),
  }
}

async function sqlServerSide(): Promise<RotationSide> {
  await using stack = new AsyncDisposableStack()
  const postgres = stack.use(await startPostgres())
  const tls = await (await createPki()).issue({ commonName: 'localhost', dns: ['localhost'] })
  const options = {
    postgres,
    tls,
    logins: { etl: FIRST, etl_b: FIRST, boss: FIRST },
    administrators: ['boss'],
    passwordRule: (password: string) => (password === 'etl' ? 'It is not complex enough.' : undefined),
  }
  let server = await startTdsServer(options)
  const record = {
    type: 'mssql',
    host: 'localhost',
    port: server.port,
    database: 'master',
    extra: { trust_server_certificate: true },
  } as const
  const held = stack.move()
  return {
    record,
    accepts: (user, password) => accepts(record, user, password),
    stop: () => server.stop(),
    async start() {
      server = await startTdsServer({ ...options, listen: { port: record.port } })
    },
    told: () => '',
    get tds() {
      return server
    },
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]()
      await held[Symbol.asyncDispose]()
    },
  }
}

export const ROTATION_SIDES: Readonly<Record<string, () => Promise<RotationSide>>> = {
  'PostgreSQL 18': () => postgresSide('embedded'),
  'PostgreSQL 15': () => postgresSide('debian'),
  'SQL Server': sqlServerSide,
}
