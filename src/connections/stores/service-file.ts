/**
 * A service of pg_service.conf (PostgreSQL documentation, "The Connection Service File"). It is read where the record names
 * it, and never by itself; what the record says itself takes precedence.
 */

import { didYouMeanSentence, nearNames } from '../../did-you-mean.ts'
import { ConfigError, type ConfigProblem } from '../../errors.ts'
import { Secret } from '../../secret.ts'
import { FieldMismatch, path, show } from '../field-types.ts'
import { isKeyword, readKeywords } from '../forms/keyword-string.ts'
import { type ReadConnection, readConnection } from '../parse.ts'
import { readText } from './file.ts'

const DEFAULT_FILE = '~/.pg_service.conf'

/** Replaces `service` and `servicefile` by what the service says. */
export async function readService(read: ReadConnection): Promise<ReadConnection> {
  const { connection } = read
  const { service: wrapped, servicefile, ...extra } = connection?.extra ?? {}
  const name = wrapped instanceof Secret ? wrapped.reveal() : wrapped
  if (connection?.type !== 'postgres' || name === undefined || name === '') return read
  // The other options are checked too, and `service` is no option of the database.
  const part = { type: connection.type, extra }
  const refused = (problems: readonly ConfigProblem[]): ReadConnection => ({
    ...read,
    connection: undefined,
    part,
    problems,
  })
  if (typeof name !== 'string')
    return refused([{ path: 'extra.service', message: `expected a name, got ${show(name)}` }])
  try {
    const service = readKeywords(await findService(name, fileOf(servicefile)))
    const { extra: given, ...record } = service.record
    const { id, ...own } = connection
    const merged = readConnection(
      { ...record, ...own, extra: { ...(given as object), ...extra } },
      { id, subject: read.subject },
    )
    const problems = [...service.problems, ...merged.problems]
    const notes = [...read.notes, ...(service.notes ?? []), ...merged.notes]
    return {
      ...merged,
      connection: problems.length > 0 ? undefined : merged.connection,
      problems,
      notes,
      closed: read.closed,
    }
  } catch (error) {
    if (error instanceof ConfigError) return refused(error.problems)
    throw error
  }
}

/** @throws ConfigError */
function fileOf(given: unknown): string {
  try {
    return FILE.parse(given || DEFAULT_FILE) ?? ''
  } catch (error) {
    if (!(error instanceof FieldMismatch)) throw error
    throw new ConfigError([{ path: 'extra.servicefile', message: error.message }])
  }
}

const FILE = path({ description: 'The file that holds the service.' })

/** @throws ConfigError for a file that cannot be read, a service that is not in it, and a line that is wrong */
async function findService(name: string, file: string): Promise<[string, string][]> {
  const refused = (message: string, cause?: unknown) =>
    new ConfigError([{ path: 'extra.service', message: `${message} (${file}; set servicefile for another file)` }], {
      cause,
    })
  const { text } = await readText(file, (message, cause) => refused(`its file is refused: ${message}`, cause))
  const names: string[] = []
  let found: [string, string][] | undefined
  for (const [index, raw] of text.split(/\r?\n/).entries()) {
    const line = raw.trim()
    if (line === '' || line.startsWith('#')) continue
    if (line.startsWith('[')) {
      if (found !== undefined) break
      names.push(line.slice(1, line.endsWith(']') ? -1 : undefined))
      if (line === `[${name}]`) found = []
    } else if (found !== undefined) {
      const equals = line.indexOf('=')
      const key = line.slice(0, equals)
      if (line.startsWith('ldap://')) throw refused(`line ${index + 1} leads to LDAP, which is not supported`)
      if (/^service(file)?$/.test(key)) throw refused(`line ${index + 1} names another service, which libpq refuses`)
      if (equals === -1 || !isKeyword(key)) throw refused(`line ${index + 1} is none of libpq's keywords with a value`)
      // As in libpq, the first of two values counts.
      if (!found.some(([other]) => other === key)) found.push([key, line.slice(equals + 1)])
    }
  }
  if (found !== undefined) return found
  throw refused(`there is no service ${show(name)} in its file.${didYouMeanSentence(nearNames(name, new Set(names)))}`)
}
