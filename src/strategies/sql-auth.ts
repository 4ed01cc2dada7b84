import type { ConfigProblem } from '../errors.ts'
import { ConfigError } from '../errors.ts'
import { passwordFields, passwordSource } from './password-source.ts'
import { defineStrategy } from './strategy.ts'

export const sqlAuth = defineStrategy({
  name: 'sql_auth',
  aliases: ['password'],
  dialects: ['mssql'],
  description: "SQL Server's own logins: the connection's login and password, never sent without encryption.",
  fields: passwordFields,
  credentials(connection, options, context) {
    const problems: ConfigProblem[] = []
    if (connection.login === undefined) problems.push({ path: 'login', message: 'auth_method sql_auth needs it' })
    if (connection.password === undefined && options.password_file === undefined) {
      problems.push({ path: 'password', message: 'auth_method sql_auth needs it, or password_file' })
    }
    if (problems.length > 0) throw new ConfigError(problems)
    return passwordSource(connection, options, context)
  },
})
