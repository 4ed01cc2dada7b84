/** Part of the TDS server test double: the real PostgreSQL behind one session, and its answers in TDS types. */

import pg from 'pg'
import QueryStream from 'pg-query-stream'
import { OWN_TYPES, PRELUDE } from './prelude.ts'
import type { Command } from './tokens.ts'
import { SqlError, type Translated } from './translate.ts'
import { type Column, typeOf } from './types.ts'

/** The result of a statement: columns and rows, or the number of rows that it changed. */
export interface Answer {
  /** Empty when the statement has no result set. */
  readonly columns: readonly Column[]
  /** Reads the next rows; empty at the end. */
  read(): Promise<readonly (readonly (string | null)[])[]>
  /** After the last row: the number of rows, where the statement has one. */
  rowCount(): number | undefined
  /** The kind of statement, for CurCmd. */
  command(): Command
  /** Discards the rest. */
  close(): Promise<void>
}

const BATCH_ROWS = 500
const SEARCH_PATH = 'set search_path = dbo, public, mssql'

/** PostgreSQL's texts are not parsed. */
const asText = { getTypeParser: () => (value: string) => value }

interface CursorResult {
  readonly fields: readonly { readonly name: string; readonly dataTypeID: number; readonly dataTypeModifier: number }[]
  readonly rowCount: number | null
  readonly command: string | null
}

type Row = readonly (string | null)[]

export class Backend {
  readonly #client: pg.Client
  readonly #config: pg.ClientConfig
  readonly #ownNames: ReadonlyMap<number, string>
  readonly processId: number

  private constructor(
    client: pg.Client,
    config: pg.ClientConfig,
    names: ReadonlyMap<number, string>,
    processId: number,
  ) {
    this.#client = client
    this.#config = config
    this.#ownNames = names
    this.processId = processId
  }

  /** @param onEnd the backend's own connection was cut */
  static async connect(config: pg.ClientConfig, onEnd: () => void): Promise<Backend> {
    const client = new pg.Client(config)
    client.on('error', onEnd)
    await client.connect()
    await client.query(PRELUDE)
    await client.query(SEARCH_PATH)
    const types = await client.query<{ oid: number; typname: string }>(
      "select oid::int, typname from pg_type where typnamespace = to_regnamespace('mssql') and typname = any ($1)",
      [OWN_TYPES],
    )
    const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
    const names = new Map(types.rows.map((row) => [row.oid, row.typname]))
    return new Backend(client, config, names, rows[0]?.pid ?? 0)
  }

  async run(statement: Translated): Promise<Answer> {
    const options = { rowMode: 'array', types: asText, batchSize: BATCH_ROWS } as const
    // pg's types declare only some of these options, such as `rowMode: "array"`.
    const stream = new QueryStream(statement.text, [...statement.values], options as object)
    this.#client.query(stream)
    const cursor = stream.cursor as unknown as {
      read(rows: number, callback: (error: Error | undefined, rows: Row[], result: CursorResult) => void): void
      close(callback: () => void): void
    }
    let result: CursorResult | undefined
    const read = (): Promise<Row[]> =>
      new Promise((resolve, reject) => {
        cursor.read(BATCH_ROWS, (error, rows, latest) => {
          if (error !== undefined && error !== null) reject(sqlError(error))
          else {
            result = latest
            resolve(rows)
          }
        })
      })
    let buffered: Row[] | undefined = await read()
    let seen = 0
    const columns = (result?.fields ?? []).map((field) => ({
      name: field.name === '?column?' || /^(int[248]|varchar|text|bool|numeric)$/.test(field.name) ? '' : field.name,
      type: typeOf(field.dataTypeID, field.dataTypeModifier, this.#ownNames),
    }))
    return {
      columns,
      read: async () => {
        const rows = buffered ?? (await read())
        buffered = undefined
        seen += rows.length
        return rows
      },
      rowCount: () => {
        if (columns.length > 0) return seen
        return /^(INSERT|UPDATE|DELETE|MERGE)$/.test(result?.command ?? '') ? (result?.rowCount ?? 0) : undefined
      },
      command: () => commandOf(result?.command),
      close: () => new Promise((resolve) => cursor.close(() => resolve())),
    }
  }

  /** A statement of the double itself. */
  async execute(text: string): Promise<void> {
    try {
      await this.#client.query(text)
    } catch (error) {
      throw sqlError(error)
    }
  }

  /** Resets all state of the session. */
  async discard(): Promise<void> {
    await this.execute('discard all')
    await this.execute(SEARCH_PATH)
  }

  /** Cancels the running statement, over a separate connection. */
  async cancel(): Promise<void> {
    const other = new pg.Client(this.#config)
    // The server may be stopped before this connection has ended.
    other.on('error', () => undefined)
    await other.connect()
    try {
      await other.query('select pg_cancel_backend($1)', [this.processId])
    } finally {
      await other.end()
    }
  }

  async close(): Promise<void> {
    await this.#client.end()
  }
}

function commandOf(tag: string | null | undefined): Command {
  const word = tag?.toLowerCase()
  return word === 'insert' || word === 'update' || word === 'delete' || word === 'merge' ? word : 'select'
}

const NUMBERS: Readonly<Record<string, readonly [number: number, state: number, errorClass: number]>> = {
  '42501': [229, 5, 14],
  '42P01': [208, 1, 16],
  '42703': [207, 1, 16],
  '42601': [102, 1, 15],
  '23505': [2627, 1, 14],
  '23503': [547, 0, 16],
  '23502': [515, 2, 16],
  '22012': [8134, 1, 16],
  '22P02': [245, 1, 16],
  '22003': [8115, 2, 16],
  '40P01': [1205, 13, 13],
  '42P07': [2714, 6, 16],
  '55P03': [1222, 51, 16],
  '42P10': [1033, 1, 15],
  '3D000': [4060, 1, 11],
}

/** Clients parse the names in the texts of these errors. */
function wordsOf(number: number, message: string): string {
  const name = /^(?:column|relation) "?(.*?)"? does not exist/.exec(message)?.[1]?.replaceAll('"', '')
  if (name === undefined) return message
  return number === 207 ? `Invalid column name '${name.split('.').at(-1)}'.` : `Invalid object name '${name}'.`
}

export function sqlError(error: unknown): unknown {
  if (!(error instanceof Error) || !('code' in error)) return error
  const [number, state, errorClass] = NUMBERS[String(error.code)] ?? [50000, 1, 16]
  return new SqlError(number, state, errorClass, wordsOf(number, error.message))
}
