/**
 * A strategy of your own: the password is what a command prints, as a password manager's or a secret store's client
 * does. A strategy defines only its extras and how a credential is fetched. `refreshingSource` adds renewal before
 * expiry, one fetch for all waiting callers, and retries.
 *
 *   npm install && npm run build
 *   DB_HOST=db.example.com DB_USER=etl DB_PASSWORD_COMMAND='pass show databases/etl' node examples/custom-strategy.ts
 */

import { execFile } from 'node:child_process'
import { env } from 'node:process'
import { promisify } from 'node:util'
import { createEngine, defineStrategy, integer, refreshingSource, register, Secret, text } from 'poolsmith'

register(
  defineStrategy({
    name: 'password_command',
    dialects: ['postgres'],
    description: 'A password that a command prints.',
    fields: {
      password_command: text({ default: 'false', description: 'The command, run by /bin/sh.' }),
      password_lifetime_minutes: integer({ default: 15, min: 1, description: 'Run it again after this long.' }),
    },
    credentials: (connection, options, { emit }) =>
      refreshingSource({
        emit,
        fetch: async (signal) => {
          const { stdout } = await promisify(execFile)('/bin/sh', ['-c', options.password_command], { signal })
          const issuedAt = Date.now()
          return {
            kind: 'password',
            identity: connection.login ?? 'unknown',
            password: new Secret(stdout.trimEnd()),
            issuedAt,
            expiresAt: issuedAt + options.password_lifetime_minutes * 60_000,
          }
        },
      }),
  }),
)

await using db = await createEngine({
  type: 'postgres',
  host: env.DB_HOST ?? 'localhost',
  port: env.DB_PORT ?? 5432,
  database: env.DB_NAME ?? 'postgres',
  login: env.DB_USER ?? 'postgres',
  extra: {
    auth_method: 'password_command',
    password_command: env.DB_PASSWORD_COMMAND,
    sslmode: env.DB_SSLMODE ?? 'verify-full',
    sslrootcert: env.DB_CA_FILE ?? 'system',
  },
})

const [session] = await db.select(db.raw('current_user as who'))
console.log(session)
