import type { Connection } from '../connections/connection.ts'
import { path, type ValuesOf } from '../connections/fields.ts'
import type { CredentialSource } from '../credentials/credential.ts'
import { refreshingSource } from '../credentials/refreshing-source.ts'
import { staticSource } from '../credentials/static-source.ts'
import type { ConfigProblem } from '../errors.ts'
import { Secret } from '../secret.ts'
import { refuse } from './refuse.ts'
import { settled } from './settled.ts'
import type { StrategyContext } from './strategy.ts'

/** How often the password file is read again while the pool is in use. */
const RECHECK_MILLIS = 1000

export const passwordFields = {
  password_file: path({
    description:
      'A file that holds the password and nothing else, as a mounted Kubernetes secret or a Vault agent writes it; instead of the password in the connection. It is read again every second while the pool is in use, and at once when the server refuses the password, so that a rotation costs no failed statement.',
  }),
} as const

/** A password that is said twice. */
export function passwordProblems(
  connection: Connection,
  { password_file: file }: ValuesOf<typeof passwordFields>,
): readonly ConfigProblem[] {
  if (file === undefined || connection.password === undefined) return []
  return [{ path: 'extra.password_file', message: 'the connection holds a password too; keep one of them' }]
}

/**
 * The login and password of a connection, or the password in a file.
 *
 * @throws ConfigError when both are given
 */
export function passwordSource(
  connection: Connection,
  { password_file: file }: ValuesOf<typeof passwordFields>,
  { emit }: Pick<StrategyContext, 'emit'>,
): CredentialSource {
  const identity = connection.login ?? ''
  const user = connection.login === undefined ? {} : { user: connection.login }
  if (file === undefined) {
    return staticSource({
      kind: 'password',
      identity,
      ...user,
      // A server that trusts us asks for none; one that asks gets to say that an empty one is wrong.
      password: connection.password ?? new Secret(''),
      issuedAt: Date.now(),
    })
  }
  refuse(passwordProblems(connection, { password_file: file }))
  const read = async () => (await import('./password-file.ts')).readPasswordFile(file)
  return filePassword(connection, read, { emit })
}

/** A password that is read from a file again and again. */
export function filePassword(
  { login }: Pick<Connection, 'login'>,
  read: () => Promise<Secret>,
  { emit }: Pick<StrategyContext, 'emit'>,
): CredentialSource {
  return refreshingSource({
    fetch: settled(async () => ({
      kind: 'password',
      identity: login ?? '',
      user: login,
      password: await read(),
      issuedAt: Date.now(),
    })),
    emit,
    recheckMillis: RECHECK_MILLIS,
  })
}
