import type { Connection } from '../connections/connection.ts'
import { placeName } from '../drivers/whereabouts.ts'

/** How a report names a connection: its id, or its type and place where it has none. */
export function nameOf({ id, type, host = 'localhost', port, database }: Connection): string {
  return id ?? `${type} ${placeName({ host, port, database })}`
}
