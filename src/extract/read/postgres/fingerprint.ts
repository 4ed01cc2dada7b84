/** The database that a session is in, however it is called by the client. */

import type { Client } from 'pg'
import type { Fingerprint } from '../table.ts'
import { document } from './catalogue.ts'

/** Servers that only speak PostgreSQL's protocol may lack the function, and a provider may take the right away. */
const HAS_CONTROL_DATA = `
select to_json(coalesce(pg_catalog.has_function_privilege(
  pg_catalog.to_regprocedure('pg_catalog.pg_control_system()')::oid, 'EXECUTE'), false))::text`

const database = (system: string): string => `
select json_build_object('system', ${system} oid::text, 'database', datname)::text
from pg_catalog.pg_database where datname = pg_catalog.current_database()`

const WITH_SYSTEM = database(`(select system_identifier::text from pg_catalog.pg_control_system()) || '/' ||`)
const WITHOUT_SYSTEM = database(`'/' ||`)

/** A standby has its primary's system identifier, and so has a server that was restored from its files. */
export async function databaseOf(client: Client): Promise<Omit<Fingerprint, 'table'>> {
  const hasControlData = await document<boolean>(client, HAS_CONTROL_DATA)
  return document(client, hasControlData ? WITH_SYSTEM : WITHOUT_SYSTEM)
}
