import type { PostgresServer } from './postgres.ts'

/** The connection record of the superuser. */
export function superuserRecord(server: PostgresServer) {
  const { host, port, superuser: login, superuserPassword: password } = server
  return { type: 'postgres', host, port, login, password, database: 'postgres' } as const
}
