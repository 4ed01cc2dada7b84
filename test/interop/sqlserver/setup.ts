/** The common setup of this part: a double with every kind of login, and a realm. */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, afterEach } from 'node:test'
import { temporaryFolder } from '../../support/folder.ts'
import { type Kdc, startKdc } from '../../support/kdc.ts'
import { createPki } from '../../support/pki.ts'
import { startPostgres } from '../../support/postgres.ts'
import { createIssuer, type TokenIssuer } from '../../support/tds/issuer.ts'
import type { TdsServerOptions } from '../../support/tds/options.ts'
import { startTdsServer, type TdsServer } from '../../support/tds/server.ts'
import type { ClientKind, Place } from './clients.ts'

export const SA = { user: 'sa', password: 'Pa55word!ü' }
/** Not a temporary table: ours sends each statement through sp_executesql, whose end drops those. */
export const TABLE = 'client_rows'
export const SPN = 'MSSQLSvc/db.test:1433'

export interface Setup {
  readonly issuer: TokenIssuer
  readonly kdc: Kdc
  /** The ticket cache of alice. */
  readonly cache: string
  /** A double that serves the one test. */
  start(options?: Partial<TdsServerOptions>): Promise<TdsServer>
  at(server: TdsServer, more?: Partial<Place>): Place
  /** The service principal that a client asks for: the one that it is given, or that it makes from host and port. */
  serviceOf(kind: ClientKind, server: TdsServer): Promise<string>
}

/** Belongs at the top of a test file; everything stops at its end. */
export async function interopSetup(): Promise<Setup> {
  const stack = new AsyncDisposableStack()
  let servers: TdsServer[] = []
  after(() => stack.disposeAsync())
  const folder = stack.use(await temporaryFolder())
  const postgres = stack.use(await startPostgres())
  afterEach(async () => {
    for (const server of servers) await server.stop()
    servers = []
    await postgres.sql(`drop table if exists dbo.${TABLE}`)
  })
  const certificate = await (await createPki()).issue({ commonName: 'localhost', dns: ['localhost'], keyType: 'rsa' })
  const certificateFile = join(folder.path, 'server.pem')
  await writeFile(certificateFile, certificate.cert)
  const issuer = await createIssuer()
  const kdc = stack.use(await startKdc())
  Object.assign(process.env, kdc.environment)
  await kdc.addPrincipal('alice', { password: 'pw' })
  const cache = `FILE:${kdc.path('alice')}`
  await kdc.kinit('alice', cache, { password: 'pw' })
  await kdc.addPrincipal(SPN)
  const logins = {
    sa: SA.password,
    late: { password: 'x', mustChange: true },
    old: { password: 'x', expired: true },
  }
  return {
    issuer,
    kdc,
    cache,
    start: async (options = {}) => {
      const common = { postgres, logins, tls: certificate, tokens: issuer.rules, strictToo: true }
      const server = await startTdsServer({ ...common, ...options })
      servers.push(server)
      return server
    },
    serviceOf: async ({ name }, { port }) => {
      if (name !== 'sqlclient') return SPN
      const service = `MSSQLSvc/localhost:${port}`
      await kdc.addPrincipal(service)
      return service
    },
    at: ({ port }, more = {}) => ({ port, encrypt: 'true', certificateFile, ...more }),
  }
}
