/** Tables that are read in parts, and the rows of the files. */

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after } from 'node:test'
import { extractTable } from '../../src/extract/extract-table.ts'
import type { Manifest } from '../../src/extract/manifest.ts'
import type { ExtractOptions } from '../../src/extract/options.ts'
import type { ExtractEngine, ExtractSource } from '../../src/extract/read/table.ts'
import type { Engine } from '../../src/index.ts'
import { superuserEngine } from './extract.ts'
import { readParquetFile } from './parquet.ts'
import { type PostgresServer, startPostgres } from './postgres.ts'

/** Of the table `flights`. */
export const ROWS = 40_000

const TABLES = `create table flights (id int primary key, carrier text, filler text);
  insert into flights select g, (array['AA','UA','DL'])[g % 3 + 1], repeat(md5(g::text), 3) from generate_series(1, ${ROWS}) g;
  analyze flights;
  create table wide as select g as id, repeat(md5(g::text), 50) as filler from generate_series(1, 50000) g;
  create table parts (id int, k text) partition by list (k);
  create table parts_a partition of parts for values in ('a'); create table parts_b partition of parts for values in ('b');
  create table parts_rest partition of parts default;
  insert into parts select g, case when g % 10 = 0 then 'b' when g % 100 = 1 then null else 'a' end
    from generate_series(1, 20000) g;
  create view seen as select id, k from parts`

/** The ids in all files of a run, sorted. */
export async function idsOf(manifests: Manifest | readonly Manifest[]): Promise<number[]> {
  const ids: number[] = []
  for (const { folder, files } of [manifests].flat() as readonly Manifest[]) {
    for (const { name, rows } of files) {
      const path = join(folder, name)
      const found = name.endsWith('.csv')
        ? (await readFile(path, 'utf8'))
            .split('\n')
            .slice(1, -1)
            .map((line) => Number(line.split(',')[0]))
        : (await readParquetFile(path)).rows.map((row) => Number(row.id))
      assert.equal(found.length, rows, name)
      ids.push(...found)
    }
  }
  return ids.sort((a, b) => a - b)
}

/** The difference between long lists, which assert would look for until the next day. */
export function sameIds(found: readonly number[], expected: readonly number[], why = 'every row once'): void {
  const at = Array.from({ length: Math.max(found.length, expected.length) }).findIndex(
    (_, index) => found[index] !== expected[index],
  )
  const message = `${why}: ${found.length} ids in place of ${expected.length}; ${found[at]} in place of ${expected[at]}`
  assert.ok(at === -1, message)
}

export const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1)

/** The action that runs once, when the first rows have been written. */
export function once(action: () => Promise<unknown> | undefined): { onProgress: () => void; done: Promise<unknown> } {
  const { promise, resolve } = Promise.withResolvers<unknown>()
  let begun = false
  const onProgress = (): void => {
    if (begun) return
    begun = true
    resolve(action())
  }
  return { onProgress, done: promise }
}

/** A server with the tables, an engine, and an extract of `flights` in four parts; stopped after the tests. */
export async function startParts(): Promise<{
  readonly server: PostgresServer
  readonly db: Engine
  readonly run: (
    to: string,
    options?: Partial<ExtractOptions>,
    source?: ExtractSource,
    engine?: ExtractEngine,
  ) => Promise<Manifest>
}> {
  // Autovacuum takes numbers of transactions, between which and a snapshot a run cannot tell.
  const server = await startPostgres({ config: { autovacuum: 'off' } })
  const db = await superuserEngine(server)
  after(async () => {
    await db.destroy()
    await server[Symbol.asyncDispose]()
  })
  await server.sql(TABLES)
  return {
    server,
    db,
    run: (to, options = {}, source = { table: 'flights' }, engine = db) =>
      extractTable(engine, source, { to, format: 'csv', partitions: 4, ...options }),
  }
}
