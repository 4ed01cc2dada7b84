/** Two independent clients that check the TDS server test double: tedious and FreeTDS' tsql. */

import { spawn } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as tedious from 'tedious'

export type StockAuthentication = NonNullable<tedious.ConnectionConfiguration['authentication']>

export interface StockOptions {
  readonly port: number
  readonly authentication: StockAuthentication
  readonly options?: tedious.ConnectionOptions
}

/** Connects with unchanged tedious. Rejects with tedious' own error. */
export async function connectStock(setup: StockOptions): Promise<tedious.Connection> {
  const connection = new tedious.Connection({
    server: 'localhost',
    authentication: setup.authentication,
    options: { port: setup.port, encrypt: false, maxRetriesOnTransientErrors: 0, ...setup.options },
  })
  // A broken connection emits this; the tests look at the errors of their statements.
  connection.on('error', () => undefined)
  await new Promise<void>((resolve, reject) => {
    connection.connect((error) => (error === undefined ? resolve() : reject(error)))
  })
  return connection
}

export const sqlLogin = (userName: string, password: string): StockAuthentication => ({
  type: 'default',
  options: { userName, password },
})

export interface StockResult {
  readonly rows: Record<string, unknown>[]
  readonly rowCount: number
}

/** Runs a statement; `onRequest` sees it before it is sent. */
export function runStock(
  connection: tedious.Connection,
  sql: string,
  setup: { readonly batch?: boolean; readonly onRequest?: (request: tedious.Request) => void } = {},
): Promise<StockResult> {
  return new Promise((resolve, reject) => {
    const rows: Record<string, unknown>[] = []
    const request = new tedious.Request(sql, (error, rowCount) => {
      if (error) reject(error)
      else resolve({ rows, rowCount: rowCount ?? 0 })
    })
    request.on('row', (columns: { metadata: { colName: string }; value: unknown }[]) => {
      rows.push(Object.fromEntries(columns.map((column) => [column.metadata.colName, column.value])))
    })
    setup.onRequest?.(request)
    if (setup.batch === true) connection.execSqlBatch(request)
    else connection.execSql(request)
  })
}

export interface TsqlOptions {
  readonly folder: string
  readonly port: number
  readonly user?: string
  readonly password?: string
  /** Default 7.4. */
  readonly tdsVersion?: string
  /** FreeTDS: `off`, `request` (the login only), `require`. */
  readonly encryption: 'off' | 'request' | 'require'
  /** Verifies the server's certificate with this file. */
  readonly caFile?: string
  readonly environment?: Readonly<Record<string, string>>
}

export interface TsqlResult {
  readonly code: number | null
  readonly output: string
}

/** Runs batches in FreeTDS' client. Without a user it logs in by Kerberos. */
export async function tsql(options: TsqlOptions, batches: readonly string[]): Promise<TsqlResult> {
  const conf = join(options.folder, 'freetds.conf')
  await writeFile(
    conf,
    [
      '[double]',
      'host = localhost',
      `port = ${options.port}`,
      `tds version = ${options.tdsVersion ?? '7.4'}`,
      'client charset = UTF-8',
      `encryption = ${options.encryption}`,
      'use ntlmv2 = yes',
      ...(options.caFile === undefined ? [] : [`ca file = ${options.caFile}`, 'check certificate hostname = yes']),
      '',
    ].join('\n'),
  )
  const login = options.user === undefined ? [] : ['-U', options.user, '-P', options.password ?? '']
  const child = spawn('tsql', ['-S', 'double', ...login, '-o', 'q'], {
    env: {
      PATH: process.env.PATH,
      HOME: options.folder,
      LC_ALL: 'C.UTF-8',
      FREETDSCONF: conf,
      FREETDS: conf,
      ...options.environment,
    },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  let output = ''
  child.stdout.on('data', (chunk) => {
    output += chunk
  })
  child.stderr.on('data', (chunk) => {
    output += chunk
  })
  // A client that could not log in closes its input early.
  child.stdin.on('error', () => undefined)
  child.stdin.end(`${batches.map((batch) => `${batch}\ngo\n`).join('')}exit\n`)
  const timer = setTimeout(() => child.kill('SIGKILL'), 20_000)
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', resolve)
  })
  clearTimeout(timer)
  return { code, output }
}
