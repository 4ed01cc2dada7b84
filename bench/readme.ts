/** The table of README.md, whose last column `npm run bench -- SUITE --readme` writes. */

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Result } from './measure.ts'

const PAGE = join(import.meta.dirname, '..', 'README.md')

/** The rows: a suite, the beginning of a result's name in it, and the first two cells. */
const ROWS: readonly (readonly [suite: string, name: string, what: string, against: string])[] = [
  [
    'extract',
    'Parquet (zstd) to a file, against psql',
    'a table to Parquet (zstd), 2 million rows of 12 columns',
    "psql's `\\copy` to CSV, discarded",
  ],
  [
    'extract',
    'Parquet, against psql \\copy to a file and DuckDB',
    'the same',
    "psql's `\\copy` to a file, then DuckDB to Parquet",
  ],
  ['extract', 'Parquet, against pg-query-stream', 'the same', 'pg-query-stream into a Parquet writer in JavaScript'],
  [
    'extract',
    'CSV with bronze columns to a file',
    'the same to CSV, with three more columns',
    "psql's `\\copy` to a file",
  ],
  [
    'extract',
    'SQL Server: Parquet (zstd) to a file',
    'a table of SQL Server to Parquet',
    'bare tedious, rows discarded',
  ],
  ['pool', 'acquire + release', 'acquire and release', 'bare knex with pg'],
  ['pool', 'select 1', '`select 1`', 'bare knex with pg'],
  [
    'rows',
    'a select of 50000 rows of 8 columns, against bare knex',
    'a select of 50,000 rows of 8 columns',
    'bare knex with pg',
  ],
  ['rows', 'the same, against postgres.js', 'the same of int, text and timestamptz', 'postgres.js'],
  ['sqlserver', 'one-row query', 'a row of SQL Server', 'bare knex with tedious'],
  ['gss', 'encrypted select of wide rows', 'a select with GSSAPI encryption, wide rows', 'psql in the same mode'],
  ['gss', 'encrypted select of narrow rows', 'the same, narrow rows', 'psql in the same mode'],
  ['idle', '1,000 idle sessions: processor time', 'processor time of 1,000 idle sessions', 'pg.Pool'],
  ['idle', '1,000 idle sessions: wake-ups', 'wake-ups of 1,000 idle sessions', 'pg.Pool'],
]

/** Writes the ratios with their spreads into the rows of a suite; other rows stay as they are. */
export function writeTable(suite: string, results: readonly Result[]): void {
  let page = readFileSync(PAGE, 'utf8')
  for (const [of, name, what, against] of ROWS) {
    const result = of === suite ? results.find((each) => each.name.startsWith(name)) : undefined
    if (result === undefined) continue
    const row = `| ${what} | ${against} | `
    const at = page.indexOf(row)
    if (at === -1) throw new Error(`README.md has no row that begins: ${row}`)
    const start = at + row.length
    page = `${page.slice(0, start)}${shown(result)} |${page.slice(page.indexOf('\n', start))}`
  }
  writeFileSync(PAGE, page)
}

function shown({ ratio, spread }: Result): string {
  const [least, greatest] = spread ?? [ratio, ratio]
  return least === greatest ? ratio.toFixed(2) : `${ratio.toFixed(2)} (${least.toFixed(2)} to ${greatest.toFixed(2)})`
}
