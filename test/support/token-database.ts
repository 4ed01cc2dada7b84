/** A real PostgreSQL that accepts tokens over TLS, with the options that a test needs to log in. */

import { randomUUID } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { temporaryFolder } from './folder.ts'
import { startLdapLogin } from './ldap-login.ts'
import { createPki } from './pki.ts'
import { type PostgresServer, psql, startPostgres } from './postgres.ts'

export interface TokenDatabase extends AsyncDisposable {
  readonly server: PostgresServer
  /** The name in the server's certificate; it does not resolve, so `hostaddr` gives the address. */
  readonly host: string
  /** Extras with which a client finds and trusts the server. */
  readonly extra: { readonly hostaddr: string; readonly sslrootcert: string }
  readonly decisions: readonly { readonly user: string; readonly outcome: string }[]
  /** Logs in by psql, an independent implementation, with this token as the password. */
  login(
    user: string,
    token: string,
  ): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }>
}

/** @param verify rejects, with the reason, a token that does not admit this user to the server on this port */
export async function startTokenDatabase(
  host: string,
  roles: readonly string[],
  verify: (user: string, token: string, port: number) => void | Promise<void>,
): Promise<TokenDatabase> {
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await temporaryFolder())
  const pki = await createPki()
  const { cert, key } = await pki.issue({ commonName: host, dns: [host] })
  const sslrootcert = join(folder.path, 'ca.pem')
  await writeFile(sslrootcert, pki.ca)
  let port = 0
  const ldap = stack.use(await startLdapLogin((user, token) => verify(user, token, port)))
  const server = stack.use(
    await startPostgres({
      flavor: 'debian',
      tls: { cert, key },
      hba: [`hostssl all all 127.0.0.1/32 ${ldap.hbaMethod}`],
    }),
  )
  port = server.port
  for (const role of roles) await server.sql(`create role "${role}" login`)
  const owned = stack.move()
  return {
    server,
    host,
    extra: { hostaddr: server.host, sslrootcert },
    decisions: ldap.decisions,
    login: (user, token) => {
      const target = `host=${host} hostaddr=${server.host} port=${server.port} user=${user} dbname=postgres`
      return psql(['-At', `${target} sslmode=verify-full sslrootcert=${sslrootcert}`, '-c', 'select current_user'], {
        PGPASSWORD: token,
        PGAPPNAME: randomUUID(),
      })
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
