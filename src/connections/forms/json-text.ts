/** JSON text, as Airflow's secrets backends and its command line have it. */

import type { Connection } from '../connection.ts'
import { parseJson } from '../exact-json.ts'
import { revealExtra } from '../extra.ts'
import { type TextForm, unreadable } from './form.ts'

export const jsonText: TextForm = {
  recognises: (text) => text.startsWith('{'),
  read(text) {
    try {
      return { record: parseJson(text) as Record<string, unknown>, problems: [] }
    } catch {
      // The parser's message quotes the text, and the text may hold secrets.
      return unreadable('it begins with { but is not valid JSON')
    }
  },
}

/**
 * Writes a connection as Airflow's JSON text (its keys: `conn_type`, `schema`, ...), which Airflow and
 * `parseConnection` read back as the same connection. The `id` is the store's and is left out.
 * **It reveals the password and every secret of the extras**: hand it to a store, never to a log
 * (`describeConnection` is for that).
 *
 * @example
 * toAirflowJson(parseConnection('postgres://etl:s3cret@db/sales?sslmode=require'))
 * // '{"conn_type":"postgres","host":"db","login":"etl","password":"s3cret","schema":"sales","extra":{"sslmode":"require"}}'
 */
export function toAirflowJson(connection: Connection): string {
  const { type, description, host, login, password, database, port, extra } = connection
  return JSON.stringify({
    conn_type: type,
    description,
    host,
    login,
    password: password?.reveal(),
    schema: database,
    port,
    extra: Object.keys(extra).length === 0 ? undefined : revealExtra(extra),
  })
}
