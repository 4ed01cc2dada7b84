/** The database that a session is in, however it is called by the client. */

import type { Fingerprint } from '../table.ts'
import type { AskServer } from './catalogue.ts'

/** The replicas of an availability group share this id. A copy in the same instance may have it too, by another name. */
const DATABASE =
  'select convert(varchar(36), d.service_broker_guid), d.name from sys.databases d where d.name = db_name()'

export async function databaseOf(ask: AskServer): Promise<Omit<Fingerprint, 'table'>> {
  const [[system, database] = []] = await ask(DATABASE)
  return { system: String(system), database: String(database) }
}
