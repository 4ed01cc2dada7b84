import { randomUUID } from 'node:crypto'
import { extractTable } from '../../src/extract/extract-table.ts'
import type { Manifest } from '../../src/extract/manifest.ts'
import type { ExtractOptions } from '../../src/extract/options.ts'
import type { ExtractSource } from '../../src/extract/read/table.ts'
import type { Engine } from '../../src/index.ts'
import { parquetRowsOf } from './extract.ts'
import { temporaryFolder } from './folder.ts'

export class SqlServerTables {
  readonly #prefix = `poolsmith_${randomUUID().slice(0, 8)}`
  readonly #made: string[] = []
  #tried = 0
  #db: Engine | undefined
  #numbers = ''

  get db(): Engine {
    if (this.#db === undefined) throw new Error('The tables are not made yet.')
    return this.#db
  }

  /** A table of 3,000 rows. */
  get numbers(): string {
    return this.#numbers
  }

  async open(db: Engine): Promise<void> {
    this.#db = db
    this.#numbers = await this.table(
      'id int not null primary key, grp nvarchar(20), amount decimal(12,2), b bit, moment datetime2(3), bin varbinary(20)',
      upTo(3000).map(
        (id) =>
          `${id}, 'g${id % 3}', ${id}.25, cast(${id % 2} as bit), '2024-01-01 00:00:00.${String(id % 1000).padStart(3, '0')}', 0x0${id % 10}`,
      ),
    )
  }

  async close(): Promise<void> {
    try {
      for (const name of this.#made) await this.db.raw(`drop table dbo.[${name}]`)
    } finally {
      await this.db.destroy()
    }
  }

  readonly table = async (columns: string, rows: readonly string[] = []): Promise<string> => {
    const name = `${this.#prefix}_${this.#tried++}`
    await this.db.raw(`create table dbo.[${name}] (${columns})`)
    this.#made.push(name)
    for (let at = 0; at < rows.length; at += 500) {
      const some = rows.slice(at, at + 500)
      await this.db.raw(
        `insert into dbo.[${name}] values ${some.map((row) => `(${row})`).join(', ')}`.replaceAll('?', '\\?'),
      )
    }
    return name
  }

  readonly insert = (name: string, row: string): Promise<unknown> =>
    this.db.raw(`insert into dbo.[${name}] values (${row})`.replaceAll('?', '\\?')).then(String)

  /** Runs an extract into a new folder and returns the written rows. */
  readonly extract = async (
    source: ExtractSource,
    options: Partial<ExtractOptions> = {},
  ): Promise<{ manifest: Manifest; rows: Record<string, unknown>[] }> => {
    await using folder = await temporaryFolder()
    const manifest = await extractTable(this.db, source, { to: folder.path, format: 'parquet', ...options })
    return { manifest, rows: manifest.format === 'parquet' ? await parquetRowsOf(manifest) : [] }
  }
}

export const ids = (rows: readonly Record<string, unknown>[]): number[] =>
  rows.map((row) => Number(row.id)).toSorted((a, b) => a - b)

export const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1)
