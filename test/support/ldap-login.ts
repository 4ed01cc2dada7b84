/**
 * An LDAP server that decides logins for a real PostgreSQL: under
 * `ldap ldapserver=… ldapport=… ldapprefix="cn=" ldapsuffix=",dc=test"` the server sends the client's password, of
 * any length, to this one as a simple bind. So a token is verified at the point where RDS or Entra would verify it.
 */

import ldap from 'ldapjs'

export interface LdapLogin extends AsyncDisposable {
  /** The method and options of a line in pg_hba.conf. */
  readonly hbaMethod: string
  /** The decisions, in order: `accepted`, or the reason of the refusal. */
  readonly decisions: readonly { readonly user: string; readonly outcome: string }[]
}

/** The part of ldapjs that its types leave open. */
interface BindRequest {
  readonly dn: { toString(): string }
  readonly credentials: string
}
interface BindResponse {
  end(): void
}

/** @param verify rejects, with the reason, a user that may not log in */
export async function startLdapLogin(
  verify: (user: string, password: string) => void | Promise<void>,
): Promise<LdapLogin> {
  const decisions: { user: string; outcome: string }[] = []
  const server = ldap.createServer()
  server.bind('dc=test', (request: BindRequest, response: BindResponse, next: (error?: unknown) => void) => {
    const user = /^cn=(.*?),\s*dc=test$/i.exec(request.dn.toString())?.[1] ?? ''
    Promise.resolve()
      .then(() => verify(user, request.credentials))
      .then(
        () => {
          decisions.push({ user, outcome: 'accepted' })
          response.end()
          return next()
        },
        (error: unknown) => {
          decisions.push({ user, outcome: error instanceof Error ? error.message : String(error) })
          return next(new ldap.InvalidCredentialsError())
        },
      )
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = new URL(server.url)
  return {
    hbaMethod: `ldap ldapserver=127.0.0.1 ldapport=${port} ldapprefix="cn=" ldapsuffix=",dc=test"`,
    decisions,
    async [Symbol.asyncDispose]() {
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}
