/** Part of the TDS server test double: the words of T-SQL and what they are in PostgreSQL. */

import type { Token } from './tsql.ts'

/** Facts of the session that T-SQL reads as @@variables and functions. */
export interface Globals {
  readonly version: string
  readonly serverName: string
  readonly spid: number
  readonly transactionCount: number
  readonly rowCount: number
  /** The error number of the previous statement. */
  readonly lastError: number
  readonly lockTimeout: number
  readonly login: string
  readonly database: string
  readonly readOnly: boolean
  readonly encrypted: boolean
  /** `SQL` or `KERBEROS`, as in sys.dm_exec_connections. */
  readonly scheme: string
}

export const TYPES: Readonly<Record<string, string>> = {
  nvarchar: 'varchar',
  nchar: 'char',
  ntext: 'text',
  datetime2: 'mssql.datetime2',
  datetimeoffset: 'mssql.datetimeoffset',
  datetime: 'mssql.datetime',
  smalldatetime: 'mssql.smalldatetime',
  rowversion: 'mssql.rowversion',
  money: 'mssql.money',
  smallmoney: 'mssql.smallmoney',
  tinyint: 'mssql.tinyint',
  sql_variant: 'mssql.sql_variant',
  hierarchyid: 'mssql.hierarchyid',
  geography: 'mssql.geography',
  xml: 'mssql.mssql_xml',
  time: 'mssql.time7',
  uniqueidentifier: 'uuid',
  varbinary: 'bytea',
  binary: 'bytea',
  image: 'bytea',
  float: 'double precision',
  bit: 'boolean',
}

/** Types whose length PostgreSQL does not accept. */
export const WITHOUT_LENGTH = new Set(['varbinary', 'binary', 'float'])

export const WITH_SCALE = new Set(['datetime2', 'datetimeoffset', 'time'])

export const FUNCTIONS: Readonly<Record<string, string>> = {
  getdate: 'localtimestamp',
  getutcdate: "(now() at time zone 'utc')",
  sysutcdatetime: "(clock_timestamp() at time zone 'utc')",
  sysdatetimeoffset: 'clock_timestamp()',
  newid: 'gen_random_uuid()',
}

/** Types that a style of CONVERT converts to or from bytes. */
export const TEXTUAL = new Set(['char', 'varchar', 'nchar', 'nvarchar'])
export const BINARY = new Set(['binary', 'varbinary'])

/** The rows of sys.dm_exec_describe_first_result_set, read from the session's view of the statement. */
export const DESCRIBED_TABLE = 'pg_temp.tds_described'
export const DESCRIBED = `(select column_id as column_ordinal, nullif(name, '?column?') as name, is_nullable, system_type_id,
  case when user_type_id <> system_type_id then user_type_id end as user_type_id, max_length, precision, scale,
  collation_name, nullif(current_setting('mssql.error_number', true), '')::int as error_number,
  current_setting('mssql.error_message', true)::varchar(4000) as error_message
  from sys.columns where object_id = '${DESCRIBED_TABLE}'::regclass::int)`

export const quoteName = (name: string): string => `"${name.replaceAll('"', '""')}"`
export const quoteText = (text: string): string => `'${text.replaceAll("'", "''")}'`

/** In brackets they are still names of the catalogue, which PostgreSQL keeps in lower case. */
export const isCatalogue = (name: string): boolean =>
  name.toLowerCase() === 'information_schema' || name.toLowerCase() === 'sys'

export function plain(tokens: readonly Token[], from: number, to: number): string {
  return tokens
    .slice(from, to)
    .map((token) => token.text)
    .join('')
}

export function balanced(tokens: readonly Token[], from: number, to: number): boolean {
  let depth = 0
  for (const token of tokens.slice(from, to)) {
    if (token.kind !== 'symbol') continue
    if (token.text === '(') depth++
    if (token.text === ')') depth--
  }
  return depth === 0
}

export function global(name: string, globals: Globals): string {
  switch (name) {
    case '@@VERSION':
      return `${quoteText(globals.version)}::varchar(300)`
    case '@@SERVERNAME':
      return `${quoteText(globals.serverName)}::varchar(128)`
    case '@@SPID':
      return `${globals.spid}::smallint`
    case '@@TRANCOUNT':
      return `${globals.transactionCount}::int`
    case '@@ROWCOUNT':
      return `${globals.rowCount}::int`
    case '@@ERROR':
      return `${globals.lastError}::int`
    case '@@LOCK_TIMEOUT':
      return `(${globals.lockTimeout})::int`
    default:
      throw new SqlError(137, 2, 15, `Must declare the scalar variable "${name}".`)
  }
}

export function functionOf(word: string, globals: Globals): string | undefined {
  switch (word) {
    case 'db_name':
      return `${quoteText(globals.database)}::varchar(128)`
    case 'schema_name':
      // Asked for the default schema of the user alone.
      return `'dbo'::varchar(128)`
    case 'databasepropertyex':
      // Asked for Updateability alone. Else a setting of the database decides.
      return globals.readOnly ? `'READ_ONLY'::varchar(128)` : undefined
    case 'suser_sname':
    case 'suser_name':
    case 'original_login':
      return `${quoteText(globals.login)}::varchar(128)`
    default:
      return undefined
  }
}

/** An error with SQL Server's number. */
export class SqlError extends Error {
  readonly number: number
  readonly state: number
  readonly class: number

  constructor(number: number, state: number, errorClass: number, message: string) {
    super(message)
    this.number = number
    this.state = state
    this.class = errorClass
  }
}
