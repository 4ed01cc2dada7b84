import type { Connection } from '../../../src/connections/connection.ts'
import { revealExtra } from '../../../src/connections/extra.ts'

/** A connection with its secrets in the open, to compare. */
export function revealed(connection: Connection): Record<string, unknown> {
  const { password, extra, ...rest } = connection
  return { ...rest, ...(password === undefined ? {} : { password: password.reveal() }), extra: revealExtra(extra) }
}
