/** Helpers of the extract tests. */

import { open, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { mock } from 'node:test'
import { tableFromIPC } from 'apache-arrow'
import type { Manifest } from '../../src/extract/manifest.ts'
import { createEngine, type Engine } from '../../src/index.ts'
import type { PoolOptions } from '../../src/pool/options.ts'
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
