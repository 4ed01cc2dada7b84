/** Part of the TDS server test double: procedures and functions of the server, as PostgreSQL can do them. */

import type { Backend } from './backend.ts'
import type { TdsServerOptions } from './options.ts'
import type { Parameter } from './parameters.ts'
import { type Globals, SqlError, translate } from './translate.ts'
import { type Token, tokenize, wordOf } from './tsql.ts'

interface Surroundings {
  readonly backend: Backend
  readonly globals: Globals
  readonly inTransaction: boolean
}

/** sp_getapplock and sp_releaseapplock for the session, without waiting. */
export async function applicationLock(
  backend: Backend,
  words: readonly Token[],
  parameters: Parameter[],
): Promise<void> {
  const named = (name: string): string => {
    const at = words.findIndex((word) => word.kind === 'variable' && word.text === name)
    const given = words[at + 2]
    const value = parameters.find((one) => one.name === given?.text)?.value
    return value ?? given?.text.replace(/^'|'$/g, '') ?? ''
  }
  const resource = named('Resource')
  if (resource.length === 0 || resource.length > 255 || named('LockOwner') !== 'Session') {
    throw new SqlError(15600, 1, 15, 'An invalid parameter or option was specified for procedure sp_getapplock.')
  }
  const releases = words.some((word) => /^sp_releaseapplock$/i.test(word.text))
  const call = releases ? 'pg_advisory_unlock' : 'pg_try_advisory_lock'
  const answer = await backend.run({ text: `select ${call}(hashtext($1))`, values: [resource] })
  const [row] = await answer.read()
  await answer.close()
  const variable = words[1]?.kind === 'variable' ? words[1].text : undefined
  const at = parameters.findIndex((one) => one.name === variable)
  const found = parameters[at]
  if (found !== undefined) parameters[at] = { ...found, value: row?.[0] === 't' ? '0' : '-1' }
}

/**
 * ALTER LOGIN … WITH PASSWORD = … OLD_PASSWORD = …, also as the text of EXEC (@text); an administrator needs no old one.
 *
 * @returns whether it is one
 */
export function alterLogin(
  given: readonly Token[],
  parameters: readonly Parameter[],
  login: string,
  options: TdsServerOptions,
): boolean {
  const [first, open, variable] = given
  const isText = wordOf(first) === 'exec' && open?.text === '(' && variable?.kind === 'variable'
  const text = isText ? parameters.find(({ name }) => name === variable.text)?.value : undefined
  const words = text == null ? given : tokenize(text).filter((token) => token.kind !== 'space')
  if (wordOf(words[0]) !== 'alter' || wordOf(words[1]) !== 'login') return false
  const { logins = {}, administrators = [], passwordRule } = options
  const after = (name: string): string | undefined => {
    const at = words.findIndex((word) => wordOf(word) === name)
    return at < 0 ? undefined : words[at + 2]?.text.slice(1, -1).replaceAll("''", "'")
  }
  const name = words[2]?.text ?? ''
  const known = logins[name]
  const present = typeof known === 'string' ? known : known?.password
  const isAllowed = administrators.includes(login) || (login === name && after('old_password') === present)
  if (known === undefined || !isAllowed) {
    const why = 'because it does not exist or you do not have permission'
    throw new SqlError(15151, 1, 16, `Cannot alter the login '${name}', ${why}.`)
  }
  const next = after('password') ?? ''
  const problem = passwordRule?.(next)
  if (problem !== undefined) throw new SqlError(15118, 1, 16, `Password validation failed. ${problem}`)
  Object.assign(logins, { [name]: next })
  return true
}

/** A shared lock on a whole table, until the transaction ends. */
export async function lockTable(backend: Backend, tokens: readonly Token[], lockTimeout: number): Promise<void> {
  const words = tokens.filter((token) => token.kind !== 'space')
  const from = words.findIndex((word) => wordOf(word) === 'from')
  const names = [words[from + 1], words[from + 3]].map((word) => `"${(word?.text ?? '').replaceAll('"', '""')}"`)
  await backend.execute(`set local lock_timeout = ${Math.max(0, lockTimeout)}`)
  await backend.execute(`lock table ${names.join('.')} in share mode`)
}

/** Makes an empty table of the statement, whose columns are read next, or records the statement's error. */
export async function describeStatement(
  { backend, globals, inTransaction }: Surroundings,
  tokens: readonly Token[],
  parameters: readonly Parameter[],
): Promise<void> {
  const at = tokens.findIndex((token) => wordOf(token) === 'dm_exec_describe_first_result_set')
  const given = tokens.slice(at).filter((token) => token.kind === 'variable')
  const [statement = '', declared = ''] = given.map(
    ({ text }) => parameters.find((one) => one.name === text)?.value ?? '',
  )
  const variables = [...declared.matchAll(/@(\w+)/g)].map(([, name = '']) => ({ name, cast: undefined, value: null }))
  await backend.execute("select set_config('mssql.error_number', '', false)")
  const make = async (text: string): Promise<void> => {
    await backend.execute('drop table if exists pg_temp.tds_described')
    await backend.execute(`create temporary table tds_described as ${text.replace(/\$\d+/g, 'null')}\nwith no data`)
  }
  if (inTransaction) await backend.execute('savepoint tds_describe')
  try {
    await make(translate(tokenize(statement), variables, globals).text)
  } catch (error) {
    if (!(error instanceof SqlError)) throw error
    if (inTransaction) await backend.execute('rollback to savepoint tds_describe')
    await make('select 1 as error')
    const message = error.message.replaceAll("'", "''")
    await backend.execute(
      `select set_config('mssql.error_number', '${error.number}', false), set_config('mssql.error_message', '${message}', false)`,
    )
  }
}
