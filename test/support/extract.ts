/** Helpers of the extract tests. */

import assert from 'node:assert/strict'
import { open, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { mock } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type RecordBatch, tableFromIPC } from 'apache-arrow'
import { PoolsmithError } from '../../src/errors.ts'
import { extractTable } from '../../src/extract/extract-table.ts'
import type { Manifest } from '../../src/extract/manifest.ts'
import type { ExtractOptions } from '../../src/extract/options.ts'
import type { ExtractSource, ReadOptions, TableName } from '../../src/extract/read/table.ts'
import { readTable } from '../../src/extract/read-table.ts'
import { createEngine, type Engine } from '../../src/index.ts'
import type { PoolOptions } from '../../src/pool/options.ts'
import { temporaryFolder } from './folder.ts'
import { readParquetFile } from './parquet.ts'
import type { PostgresServer } from './postgres.ts'

export function superuserEngine(
  server: PostgresServer,
  options: PoolOptions = {},
  database = 'postgres',
): Promise<Engine> {
  const { host, port, superuser: login, superuserPassword: password } = server
  return createEngine({ type: 'postgres', host, port, login, password, database }, options)
}

export function dataPath(manifest: Manifest): string {
  return join(manifest.folder, manifest.files[0]?.name ?? '')
}

/** A column of all files of a run, as text. The values of CSV hold no quotes, commas or line breaks. */
export async function columnOf(manifest: Manifest, column: string): Promise<string[]> {
  const found: string[] = []
  for (const { name, rows } of manifest.files) {
    const path = join(manifest.folder, name)
    const values = await valuesIn(path, column)
    if (values.length !== rows) throw new Error(`${name} has ${values.length} rows, the manifest ${rows}.`)
    found.push(...values)
  }
  return found
}

async function valuesIn(path: string, column: string): Promise<string[]> {
  if (path.endsWith('.parquet')) return (await readParquetFile(path)).rows.map((row) => String(row[column]))
  if (path.endsWith('.arrows'))
    return tableFromIPC(await readFile(path))
      .toArray()
      .map((row) => String(row[column]))
  const lines = (await readFile(path, 'utf8')).split('\n').slice(0, -1)
  if (path.endsWith('.jsonl')) return lines.map((line) => String(JSON.parse(line)[column]))
  const at = lines[0]?.split(',').indexOf(column) ?? -1
  return lines.slice(1).map((line) => line.split(',')[at] ?? '')
}

export function dataText(manifest: Manifest): Promise<string> {
  return readFile(dataPath(manifest), 'utf8')
}

/** Every file below a folder, hidden ones too, relative to it. */
export async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort()
}

/** The COPY statements that are running on the server. */
export function copiesRunning(server: PostgresServer): Promise<string> {
  return server.sql("select count(*) from pg_stat_activity where query ilike 'copy%' and state <> 'idle'")
}

/** Runs a hook before every write to a file, until disposed. */
export async function beforeWrites(step: (bytes: Uint8Array) => Promise<void>): Promise<Disposable> {
  const probe = await open('/dev/null', 'w')
  const prototype = Object.getPrototypeOf(probe) as typeof probe
  await probe.close()
  const mocked = (['write', 'writev'] as const).map((name) => {
    const own = prototype[name]
    return mock.method(prototype, name, async function (this: typeof probe, ...args: unknown[]) {
      for (const bytes of [args[0]].flat() as Uint8Array[]) await step(bytes)
      return Reflect.apply(own, this, args)
    })
  })
  return {
    [Symbol.dispose]: () => {
      for (const one of mocked) one.mock.restore()
    },
  }
}

/** The error with which the work fails. */
export async function failureOf(work: Promise<unknown>): Promise<PoolsmithError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof PoolsmithError, `It did not fail as it should: ${String(error)}`)
  return error
}

/** The error of an extract that leaves no file behind. */
export async function failing(
  engine: Engine,
  table: TableName,
  options: Omit<ExtractOptions, 'to'> & { to?: string },
): Promise<PoolsmithError> {
  await using folder = await temporaryFolder()
  const error = await failureOf(extractTable(engine, table, { to: folder.path, ...options }))
  assert.deepEqual(await filesBelow(folder.path), [])
  return error
}

export async function eventually(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 15_000
  while (!(await holds())) {
    if (Date.now() > deadline) assert.fail(`It never came about that ${what}.`)
    await sleep(20)
  }
}

/** Once, when the copy is under way and cannot end because its rows are not taken. */
export function atFirstRows(action: () => Promise<unknown>): Promise<Disposable> {
  let bytes = 0
  let done = false
  return beforeWrites(async (chunk) => {
    bytes += chunk.length
    if (done || bytes < 1000) return
    done = true
    await action()
  })
}

/** The rows of a CSV without any quoting in it. */
export async function csvRowsOf(manifest: Manifest): Promise<Record<string, string>[]> {
  const [header = '', ...lines] = (await dataText(manifest)).split('\n').slice(0, -1)
  const names = header.split(',')
  return lines.map((line) => Object.fromEntries(names.map((name, index) => [name, line.split(',')[index] ?? ''])))
}

/** Extracts into a folder that is removed: the manifest, and the values of the column `id`, sorted as text. */
export async function extracting(
  engine: Engine,
  source: ExtractSource,
  options: Partial<Omit<ExtractOptions, 'to'>> = {},
): Promise<{ readonly manifest: Manifest; readonly ids: readonly string[] }> {
  await using folder = await temporaryFolder()
  const manifest = await extractTable(engine, source, { to: folder.path, format: 'csv', ...options })
  return { manifest, ids: (await columnOf(manifest, 'id')).sort() }
}

export async function batchesOf(engine: Engine, table: string, options: ReadOptions = {}): Promise<RecordBatch[]> {
  const all: RecordBatch[] = []
  for await (const batch of readTable(engine, { table }, options)) all.push(batch)
  return all
}

export async function parquetRowsOf({ folder, files }: Manifest): Promise<Readonly<Record<string, unknown>>[]> {
  const parts = await Promise.all(files.map(({ name }) => readParquetFile(join(folder, name))))
  return parts.flatMap(({ rows }) => rows)
}
