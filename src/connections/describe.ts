import { Secret } from '../secret.ts'
import { isSecretText } from '../secret-text.ts'
import type { Connection } from './connection.ts'
import { writeLocation } from './forms/airflow-uri.ts'
import { quotePlus } from './forms/percent.ts'

/**
 * A connection on one line, for logs and lists: its URI with `[secret]` in place of every secret, and with the
 * extras as they are, not as JSON under one key. For reading, not for parsing.
 *
 * @example
 * describeConnection(parseConnection('postgres://etl:s3cret@db/sales?sslmode=require&sslpassword=x'))
 * // 'postgres://etl:[secret]@db/sales?sslmode=require&sslpassword=[secret]'
 */
export function describeConnection(connection: Connection): string {
  const password = connection.password === undefined ? undefined : String(connection.password)
  const options = Object.entries(connection.extra).map(([key, value]) => `${showKey(key)}=${show(value)}`)
  const query = options.length === 0 ? '' : `?${options.join('&')}`
  return `${writeLocation(connection, password)}${query}`
}

function showKey(key: string): string {
  return isSecretText(key) ? '[secret]' : readable(key)
}

function show(value: unknown): string {
  if (value instanceof Secret) return String(value)
  return readable(typeof value === 'string' ? value : JSON.stringify(value))
}

/** Percent-encoded as far as one line, and one reading of it, needs: all that is not plain ASCII, and & = + #. */
function readable(text: string): string {
  return quotePlus(text).replaceAll(/%(2F|3A|40|2C|5B|5D|7B|7D|22)/g, decodeURIComponent)
}
