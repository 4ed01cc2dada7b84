/**
 * Writes the reference pages from the sources: docs/extras.md from the tables of fields, docs/errors.md
 * from the error codes, docs/cli.md from the command's own help, docs/api/ from the doc comments of what each door exports.
 *
 * `npm run docs` writes them; with `--check` it only names the stale ones, and fails.
 */

import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { COMMANDS } from '../src/cli/commands.ts'
import { commandHelp, programHelp } from '../src/cli/help.ts'
import type { Dialect } from '../src/connections/connection.ts'
import { proxyFields } from '../src/drivers/network/proxy/options.ts'
import { POSTGRES_ADVICE, POSTGRES_LOST } from '../src/drivers/postgres/statement-error.ts'
import { SQLSERVER_ADVICE, TEDIOUS_ADVICE } from '../src/drivers/sqlserver/statement-error.ts'
import type { StatementAdvice } from '../src/drivers/statement-error.ts'
import { loadDialect } from '../src/engine/load-dialect.ts'
import { auditFields, engineFields } from '../src/engine/options.ts'
import { ERROR_CODES } from '../src/error-codes.ts'
import { poolFields } from '../src/pool/options.ts'
import { storeFields } from '../src/stores/fields.ts'
import { strategies } from '../src/strategies/index.ts'
import type { Strategy } from '../src/strategies/strategy.ts'
import { apiReference } from './api-reference.ts'
import { fieldsReference } from './fields-reference.ts'

const NOTE = '<!-- Written by `npm run docs` from the sources; a change made here is lost. -->'
const DIALECT_NAMES: Readonly<Record<Dialect, string>> = { postgres: 'PostgreSQL', mssql: 'SQL Server' }
const DIALECTS: readonly Dialect[] = ['postgres', 'mssql']

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ')
}

function code(text: string): string {
  return `\`${cell(text)}\``
}

function markdownTable(header: readonly string[], lines: readonly (readonly string[])[]): string {
  return [header, header.map(() => '---'), ...lines].map((line) => `| ${line.join(' | ')} |`).join('\n')
}

function strategySection(strategy: Strategy): string {
  const names = [strategy.name, ...(strategy.aliases ?? [])].map(code).join(' or ')
  const dialects = strategy.dialects.map((dialect) => DIALECT_NAMES[dialect]).join(' and ')
  const defaults = Object.entries(strategy.defaults ?? {}).map(([name, value]) => code(`${name}=${value}`))
  return [
    `### ${strategy.name}`,
    `${strategy.description} Set \`auth_method\` to ${names}. For ${dialects}.`,
    ...(defaults.length === 0 ? [] : [`Under it these defaults change: ${defaults.join(', ')}.`]),
    ...(Object.keys(strategy.fields).length === 0 ? [] : [fieldsReference(strategy.fields)]),
  ]
    .map((part) => part.trimEnd())
    .join('\n\n')
}

async function extrasPage(): Promise<string> {
  const drivers: string[] = []
  for (const dialect of DIALECTS) {
    const { fields } = await loadDialect(dialect)
    drivers.push(`## ${DIALECT_NAMES[dialect]}`, fieldsReference(fields))
  }
  return [
    '# Extras: every option of a connection',
    NOTE,
    'The keys of a connection record’s `extra` object, which are also the query parameters of its URI. A value may be ' +
      'written as JSON or as text: `true` and `"true"`, `30` and `"30"` mean the same. Times are in seconds, fractions ' +
      'are allowed. An empty value means "not set". An unknown key that resembles a known one is an error that names the ' +
      'known one. An unknown key that protects a connection in another driver (`sslca`, `tls`, `rejectUnauthorized`, ...) ' +
      'is an error that says what to write. Any other unknown key is a warning, and an error under `strict_extras`.',
    '## Every connection',
    fieldsReference(engineFields),
    '## The pool',
    'Also accepted by `createEngine` as its second argument, where they come before the connection’s own.',
    fieldsReference(poolFields),
    ...drivers,
    '## Through a proxy',
    'For every database; docs/proxy.md says more.',
    fieldsReference(proxyFields),
    '## Secrets in stores',
    'Every option of the type `secret`, the `password` and the `login` can be in a store: write a reference under its name ' +
      'with `_from` at the end, such as `client_secret_from`; docs/secrets.md says more. These options hold for all of them. ' +
      'A store of AWS also takes the options of `auth_method=iam`, under any strategy, and Azure Key Vault those of ' +
      '`auth_method=azure_ad`; `credential_timeout` limits each request to a store of a cloud.',
    fieldsReference(storeFields),
    '## The audit log',
    'docs/audit.md says more.',
    fieldsReference(auditFields),
    '## Strategies',
    ...strategies.list().map(strategySection),
  ]
    .map((part) => part.trimEnd())
    .join('\n\n')
}

function errorsPage(): string {
  return [
    '# Errors',
    NOTE,
    'Every error that poolsmith raises is a `PoolsmithError` with a `code` from this table, the `phase` in which it ' +
      'happened (`config`, `credential`, `dns`, `connect`, `proxy`, `tls`, `gss`, `login`, `pool`, `query`, `write`), ' +
      'and a `hint` that says what to do. `transient` is true when the same call may succeed later without any change. ' +
      'A code is never renamed.',
    markdownTable(
      ['Code', 'Meaning'],
      Object.entries(ERROR_CODES).map(([name, meaning]) => [code(name), cell(meaning)]),
    ),
    ...statementErrors(),
  ].join('\n\n')
}

function adviceTable(key: string, advice: Readonly<Record<string, StatementAdvice>>): string {
  return markdownTable(
    [key, '`transient`', '`hint`'],
    Object.entries(advice).map(([name, { transient, hint }]) => [
      code(name),
      transient === true ? 'yes' : '',
      cell(hint ?? ''),
    ]),
  )
}

/** The section of docs/errors.md about errors of others. */
function statementErrors(): readonly string[] {
  const lost = Object.entries(POSTGRES_LOST).map(([state, hint]) => [state, { transient: true, hint }] as const)
  return [
    '## Errors of statements',
    'The error that the database sends for a statement stays the driver’s: pg’s `DatabaseError` with the SQLSTATE as ' +
      '`code`, tedious’ or mssql’s `RequestError` with its `number`. It gains `phase` (`query`), `transient`, and a ' +
      '`hint` if one is known; a hint that PostgreSQL sent is kept. This holds for knex, `createMssqlPool`, ' +
      '`poolsmith/kysely`, `poolsmith/pg` and the clients of PostgreSQL that `pool.use` lends.',
    'If the session ends during a statement or transaction of knex, the error is `CONNECTION_LOST`, a ' +
      '`PoolsmithError` whose `cause` is the last error of the server or the error of the socket; with Kysely on SQL ' +
      'Server too. mssql raises its own `RequestError` or `TransactionError` with this `code`, and the ' +
      '`PoolsmithError` as `originalError`. Through `poolsmith/pg` and `pool.use` it is pg’s own error; of a statement ' +
      'that came after the end of its session, and was not sent, it has `transient`, a `hint`, and the last error of ' +
      'the server as `cause`.',
    'A commit that did not happen rejects, in `await trx.commit()` and in `db.transaction(work)`, with the error that ' +
      'ended the transaction: a violated deferred constraint, `CONNECTION_LOST`, or `TRANSACTION_ROLLED_BACK` if the ' +
      'program caught the error that ended it. When the session ends between COMMIT and its answer, also through Kysely ' +
      'and mssql on SQL Server, ' +
      '`details.outcome` is `unknown` and `transient` is false: look whether the changes are there before you run ' +
      'the transaction again.',
    'PostgreSQL, by SQLSTATE; the last ones end the session:',
    adviceTable('SQLSTATE', { ...POSTGRES_ADVICE, ...Object.fromEntries(lost) }),
    'SQL Server, by number, or by tedious’ code:',
    adviceTable('Error', { ...SQLSERVER_ADVICE, ...TEDIOUS_ADVICE }),
  ]
}

function cliPage(): string {
  const block = (text: string): string => `\`\`\`text\n${text}\n\`\`\``
  return [
    '# The command `poolsmith`',
    NOTE,
    'Results go to standard output, progress, warnings and errors to standard error. Under `--json` standard output ' +
      'holds exactly one JSON object, on success (`"ok": true`) and on failure (`"ok": false`, with `error` and ' +
      '`exitCode`). `rotation` and `audit` succeed when they could look, and tell by the exit code what they found. `ticket run` writes its log before it, one object to a line. Colours and the progress bar appear on a terminal only, and no colours where `NO_COLOR` is set.',
    'A URI with a password in it can be read by other users of the machine while the command runs; give the id of a ' +
      'configured connection instead.',
    block(programHelp(COMMANDS)),
    ...COMMANDS.flatMap((command) => [`## ${command.name}`, block(commandHelp(command))]),
  ].join('\n\n')
}

/** A page for each door of the package, by its name. */
/** The guides that have another name than their door: docs/secrets.md is about references. */
const GUIDES: Readonly<Record<string, string>> = { secrets: 'stores' }

async function apiPages(): Promise<Record<string, string>> {
  const { exports: doors } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
    readonly exports: Readonly<Record<string, string | { readonly default: string }>>
  }
  const pages: Record<string, string> = {}
  for (const [door, target] of Object.entries(doors)) {
    if (typeof target === 'string') continue
    const index = join(root, target.default.replace(/^\.\/dist\//, 'src/').replace(/\.js$/, '.ts'))
    const name = door.slice(2) || 'poolsmith'
    const page = `${GUIDES[name] ?? name}.md`
    const guide = existsSync(join(folder, page)) ? page : undefined
    pages[`api/${name}.md`] = apiReference(door.replace('.', 'poolsmith'), index, guide, NOTE)
  }
  return pages
}

const root = join(import.meta.dirname, '..')
const folder = join(root, 'docs')
const pages = {
  'extras.md': await extrasPage(),
  'errors.md': errorsPage(),
  'cli.md': cliPage(),
  ...(await apiPages()),
}
const stale: string[] = []
for (const [name, content] of Object.entries(pages)) {
  const path = join(folder, name)
  const wanted = `${content}\n`
  const found = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
    return undefined
  })
  if (found === wanted) continue
  if (process.argv.includes('--check')) stale.push(`docs/${name}`)
  else {
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, wanted)
  }
}
if (stale.length > 0) {
  console.error(`Not what the sources say: ${stale.join(', ')}. Run: npm run docs`)
  process.exitCode = 1
}
