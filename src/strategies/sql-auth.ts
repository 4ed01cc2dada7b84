import type { ConfigProblem } from '../errors.ts'
import { passwordFields, passwordProblems, passwordSource } from './password-source.ts'
import { refuse } from './refuse.ts'
import { defineStrategy } from './strategy.ts'

export const sqlAuth = defineStrategy({
  name: 'sql_auth',
  aliases: ['password'],
  dialects: ['mssql'],
  description: "SQL Server's own logins: the connection's login and password, never sent without encryption.",
  fields: passwordFields,
  check(connection, options) {
    const problems: ConfigProblem[] = [...passwordProblems(connection, options)]
    if (connection.login === undefined) problems.push({ path: 'login', message: 'auth_method sql_auth needs it' })
    if (connection.login?.includes('\\') === true) {
      const message =
        'is a Windows account, which is no login of SQL Server itself; write auth_method=kerberos with login name@REALM, or auth_method=ntlm'
      problems.push({ path: 'login', message })
    }
    if (connection.password === undefined && options.password_file === undefined) {
      problems.push({ path: 'password', message: 'auth_method sql_auth needs it, or password_file' })
    }
    return problems
  },
  async credentials(connection, options, context) {
    refuse((await sqlAuth.check?.(connection, options, context.environment)) ?? [])
    return passwordSource(connection, options, context)
  },
})
