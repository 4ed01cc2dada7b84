import { path } from '../connections/fields.ts'
import { isHostList } from '../connections/host-list.ts'
import { filePassword, passwordFields, passwordProblems, passwordSource } from './password-source.ts'
import { defineStrategy } from './strategy.ts'

export const password = defineStrategy({
  name: 'password',
  dialects: ['postgres'],
  description:
    "The connection's login and password: SCRAM-SHA-256 (with channel binding over TLS), or md5 with a warning.",
  fields: {
    ...passwordFields,
    passfile: path({
      description:
        'A file in the form of `~/.pgpass` that holds the password, read where the connection holds none. Read again as `password_file` is. No file is read unless it is named here.',
    }),
  },
  check(connection, options) {
    if (options.passfile !== undefined && isHostList(connection.host)) {
      const message = 'holds a password for each host, and a connection with several hosts has one; write password_file'
      return [{ path: 'extra.passfile', message }]
    }
    if (options.passfile === undefined || options.password_file === undefined) {
      return passwordProblems(connection, options)
    }
    return [{ path: 'extra.passfile', message: 'password_file names a password too; keep one of them' }]
  },
  credentials(connection, options, context) {
    const { passfile } = options
    if (passfile === undefined || connection.password !== undefined) return passwordSource(connection, options, context)
    const { hostaddr } = context.settings
    const address = typeof hostaddr === 'string' ? hostaddr : undefined
    const read = async () => (await import('./pass-file.ts')).readPassFile(passfile, connection, address)
    return filePassword(connection, read, context)
  },
})
