/** Babelfish: a PostgreSQL of a build of its own that also speaks TDS and T-SQL. */

import assert from 'node:assert/strict'
import { chmod } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort } from '../../support/free-port.ts'
import type { Kdc } from '../../support/kdc.ts'
import { createPki } from '../../support/pki.ts'
import { startPostgres } from '../../support/postgres.ts'

const LOGIN = 'babelfish_admin'
const DATABASE = 'babelfish'
/** TDS takes no connections until Babelfish's own tables are there, and the server's start waits for PostgreSQL only. */
const INITIALISE = [
  `alter system set babelfishpg_tsql.database_name = '${DATABASE}'`,
  `alter database ${DATABASE} set babelfishpg_tsql.migration_mode = 'multi-db'`,
  'select pg_reload_conf()',
  `call sys.initialize_babelfish('${LOGIN}')`,
]

export interface Babelfish extends AsyncDisposable {
  readonly host: string
  /** Where it speaks TDS. */
  readonly port: number
  readonly login: string
  readonly password: string
  /** PEM, of the authority of its certificate. */
  readonly ca: string
  log(): string
}

/** The folder of the installation, with `bin/postgres`. */
export const INSTALLATION = process.env['POOLSMITH_BABELFISH']

/**
 * @param kdc a realm in which it has the service principal of its port on localhost
 */
export async function startBabelfish(kdc?: Kdc): Promise<Babelfish> {
  assert.ok(INSTALLATION !== undefined, 'set POOLSMITH_BABELFISH')
  const port = await freePort()
  const pki = await createPki()
  const server = await startPostgres({
    environment: kdc?.environment,
    tls: await pki.issue({ commonName: 'localhost', dns: ['localhost'], ip: ['127.0.0.1'] }),
    programs: join(INSTALLATION, 'bin'),
    config: {
      shared_preload_libraries: 'babelfishpg_tds',
      ...(kdc === undefined ? {} : { krb_server_keyfile: await keytabOf(kdc, port) }),
      'babelfishpg_tds.port': `${port}`,
      'babelfishpg_tds.listen_addresses': '127.0.0.1',
      'babelfishpg_tsql.isolation_level_serializable': 'pg_isolation',
      'babelfishpg_tsql.isolation_level_repeatable_read': 'pg_isolation',
      'babelfishpg_tsql.escape_hatch_rowversion': 'ignore',
    },
    hba: ['host all all 127.0.0.1/32 md5'],
  })
  try {
    const password = server.superuserPassword
    await server.sql(`create user ${LOGIN} with superuser createdb createrole password '${password}' inherit`)
    await server.sql(`create database ${DATABASE} owner ${LOGIN}`)
    await server.sql('create extension babelfishpg_tds cascade', DATABASE)
    await server.sql(`grant all on schema sys to ${LOGIN}`, DATABASE)
    for (const statement of INITIALISE) await server.sql(statement, DATABASE)
    return {
      host: server.host,
      port,
      login: LOGIN,
      password,
      ca: pki.ca,
      log: () => server.log(),
      [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    }
  } catch (error) {
    await server[Symbol.asyncDispose]()
    throw error
  }
}

/** The server runs under another account than the KDC. */
async function keytabOf(kdc: Kdc, port: number): Promise<string> {
  const service = `MSSQLSvc/localhost:${port}`
  await kdc.addPrincipal(service)
  const keytab = await kdc.keytab(service)
  await chmod(kdc.folder, 0o711)
  await chmod(keytab, 0o644)
  return keytab
}
