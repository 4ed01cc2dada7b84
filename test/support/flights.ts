/** A table whose rows schedulers extract in parts, and the command that they run, which can fail where a test asks. */

import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Manifest } from '../../src/extract/manifest.ts'
import { columnOf } from './extract.ts'
import type { PostgresServer } from './postgres.ts'

const ROOT = join(import.meta.dirname, '..', '..')

/** `flights` with 4000 rows of the first of January 2024 and 100 of the second, for the role `etl`. */
export async function makeFlights(server: PostgresServer): Promise<void> {
  await server.sql(`create role etl login password 'etl'; create table flights (id int primary key, departed_at timestamptz not null);
    insert into flights select g, timestamptz '2024-01-01 23:59:59.999999Z' from generate_series(1, 4000) g;
    insert into flights select g, timestamptz '2024-01-02 00:00Z' from generate_series(4001, 4100) g; grant select on flights to etl`)
}

export function etlUri({ port }: { readonly port: number }): string {
  return `postgres://etl:etl@127.0.0.1:${port}/postgres`
}

/** Calls whose arguments contain `when` fail once. */
export interface Fault {
  readonly when: string
  /** `refused`: by a server that does not listen, which is worth another try. `killed`: as by the kernel. */
  readonly how: 'refused' | 'killed'
}

const SCRIPT = `#!/bin/sh
echo "$*" >> "$CALLS/all"
case "$*" in *"\${FAULT_WHEN:-no fault}"*)
  if mkdir "$CALLS/failed" 2>/dev/null; then
    case "$FAULT_HOW" in
      killed) kill -KILL $$ ;;
      refused) export AIRFLOW_CONN_SALES=postgres://etl:etl@127.0.0.1:1/postgres ;;
    esac
  fi
esac
exec "$NODE" "$MAIN" "$@"
`

/** Puts the command where \`npm install poolsmith\` puts it. */
export async function installCommand(folder: string): Promise<void> {
  const bin = join(folder, 'node_modules', '.bin')
  await mkdir(bin, { recursive: true })
  await writeFile(join(bin, 'poolsmith'), SCRIPT)
  await chmod(join(bin, 'poolsmith'), 0o755)
}

/** The variables that the command needs, and what was called since. */
export async function recordCalls(
  folder: string,
  fault?: Fault,
): Promise<{ readonly environment: Record<string, string>; readonly calls: () => Promise<string[]> }> {
  await mkdir(folder)
  return {
    environment: {
      CALLS: folder,
      NODE: process.execPath,
      MAIN: join(ROOT, 'src', 'cli', 'main.ts'),
      ...(fault === undefined ? {} : { FAULT_WHEN: fault.when, FAULT_HOW: fault.how }),
    },
    calls: async () => (await readFile(join(folder, 'all'), 'utf8')).trimEnd().split('\n'),
  }
}

/** The ids in the files of the manifest that stands for a whole extract below the folder, in order. */
export async function extractedIds(folder: string): Promise<number[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const manifests = entries.filter(({ name }) => /^_manifest-[\w-]{36}\.json$/.test(name))
  const [only] = manifests
  if (only === undefined || manifests.length !== 1) throw new Error(`${folder} has ${manifests.length} manifests.`)
  const manifest = JSON.parse(await readFile(join(only.parentPath, only.name), 'utf8')) as Manifest
  return (await columnOf({ ...manifest, folder: only.parentPath }, 'id')).map(Number).toSorted((a, b) => a - b)
}

export function idsTo(last: number): number[] {
  return Array.from({ length: last }, (_, index) => index + 1)
}
