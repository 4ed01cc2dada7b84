import type { Connection } from '../../connections/connection.ts'
import { list, path, seconds, text, type ValuesOf } from '../../connections/fields.ts'
import type { ConfigProblem } from '../../errors.ts'
import { passwordFields, passwordProblems } from '../password-source.ts'

export const kerberosFields = {
  principal: text({
    description:
      'The client principal, `etl@EXAMPLE.COM`. Default: with a password the login, else the principal of the ticket cache.',
  }),
  keytab: path({
    description:
      'Obtains and renews the ticket from this keytab, without kinit. Default: none; the ticket must be in the cache.',
  }),
  ccache: path({
    description:
      'The ticket cache: a path, or `FILE:`, `DIR:`, `KEYRING:`, `MEMORY:` or `KCM:` with a name. Default: KRB5CCNAME ' +
      "or krb5.conf's; with a keytab or a password a cache in the pool's own memory.",
  }),
  ...passwordFields,
  min_ticket_lifetime: seconds({
    description: 'A ticket must be valid for this much longer, or no connection is tried.',
    default: 30,
    min: 0,
  }),
  realm_suffixes: list({
    pattern: { matches: /^[^=]+=/, expected: 'REALM=suffix' },
    description:
      'The suffix of the user names of a realm, as `REALM=suffix`. Without one the user of `alice@ANY.REALM` is `alice`.',
  }),
} as const

export type KerberosOptions = ValuesOf<typeof kerberosFields>

/** The options that say by which keys a ticket is obtained. */
export type KerberosKeys = Partial<Pick<KerberosOptions, 'principal' | 'keytab' | 'ccache' | 'password_file'>>

/** Whether the ticket is obtained by a password. */
export function hasPassword({ password }: Pick<Connection, 'password'>, options: KerberosKeys): boolean {
  return options.password_file !== undefined || (password !== undefined && password.reveal() !== '')
}

/** The client principal: the option, or with a password the login. */
export function principalOf(connection: Connection, options: KerberosKeys): string | undefined {
  return options.principal ?? (hasPassword(connection, options) ? connection.login : undefined)
}

/** A password that is given twice, and the options that contradict a ticket obtained by a password. */
export function kerberosProblems(connection: Connection, options: KerberosOptions): readonly ConfigProblem[] {
  const problems: ConfigProblem[] = [...passwordProblems(connection, options)]
  if (!hasPassword(connection, options)) return problems
  const other = 'the ticket is obtained by the password of the connection, into memory; keep one of them'
  if (options.keytab !== undefined) problems.push({ path: 'extra.keytab', message: other })
  if (options.ccache !== undefined) problems.push({ path: 'extra.ccache', message: other })
  const principal = principalOf(connection, options)
  if (principal === undefined) {
    problems.push({ path: 'login', message: 'auth_method kerberos needs it with a password, or extra.principal' })
  } else if (options.principal === undefined && principal.includes('\\')) {
    const message =
      'is a Windows account, and Kerberos needs a principal; write name@REALM, such as etl@CORP.EXAMPLE.COM'
    problems.push({ path: 'login', message })
  }
  return problems
}
