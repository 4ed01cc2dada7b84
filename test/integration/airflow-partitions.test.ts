/**
 * The DAG of examples/airflow-partitions, run by Python as it is. Airflow itself is replaced by the little that the DAG
 * uses of it, as Airflow's documentation has it: decorators, a rendered run id, mapped tasks, retries, values that go
 * from task to task as JSON.
 */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import type { Manifest } from '../../src/extract/manifest.ts'
import { columnOf } from '../support/extract.ts'
import { temporaryFolder } from '../support/folder.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'

const ROOT = join(import.meta.dirname, '..', '..')

const DECORATORS = `
import functools, json, os

def _value(value):
    value = json.loads(json.dumps(value))
    if isinstance(value, str):
        for name in ("run_id", "data_interval_end"):
            value = value.replace("{{ " + name + " }}", os.environ[name.upper()])
    return value

class _Task:
    def __init__(self, function, retries=0, retry_delay=None):
        self.function, self.retries = function, retries

    def __call__(self, *arguments, **named):
        for left in range(self.retries, -1, -1):
            try:
                values = {name: _value(value) for name, value in named.items()}
                return _value(self.function(*map(_value, arguments), **values))
            except Exception as error:
                print(f"failed: {error}")
                if left == 0:
                    raise

    def expand(self, **mapped):
        [(name, values)] = mapped.items()
        return [self(**{name: value}) for value in values]

def task(function=None, **options):
    return _Task(function) if function else functools.partial(_Task, **options)

def dag(**options):
    assert set(options) <= {"schedule", "start_date", "catchup"}, options
    return lambda function: function
`

const PENDULUM = `
from datetime import timedelta as duration

def datetime(year, month, day, tz):
    return (year, month, day, tz)
`

/** Fails as poolsmith does, once, where the partition is the one that is named. */
const NPX = `#!/bin/sh
case "$*" in *"#\${FAIL_ONCE:-none}"*)
  if mkdir "$BRONZE/failed" 2>/dev/null; then
    echo '{"ok":false,"error":{"code":"CONNECTION_LOST","message":"gone","hint":"again"}}'
    exit 4
  fi
esac
[ "$1" = poolsmith ] && shift
exec "$NODE" "$MAIN" "$@"
`

const stack = new AsyncDisposableStack()
let server: PostgresServer
let folder: string

before(async () => {
  server = stack.use(await startPostgres())
  folder = stack.use(await temporaryFolder()).path
  await server.sql(`create role etl login password 'etl'; create table flights (id int primary key, departed_at timestamptz not null);
    insert into flights select g, timestamptz '2024-01-01 23:59:59.999999Z' from generate_series(1, 4000) g;
    insert into flights select g, timestamptz '2024-01-02 00:00Z' from generate_series(4001, 4100) g; grant select on flights to etl`)
  await mkdir(join(folder, 'python', 'airflow'), { recursive: true })
  await mkdir(join(folder, 'bin'))
  const files = {
    'python/airflow/__init__.py': '',
    'python/airflow/decorators.py': DECORATORS,
    'python/pendulum.py': PENDULUM,
    'bin/npx': NPX,
  }
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content)
  await chmod(join(folder, 'bin', 'npx'), 0o755)
})
after(() => stack.disposeAsync())

interface DagRun {
  readonly code: number
  readonly stdout: string
}

async function runDag(runId: string, environment: Readonly<Record<string, string>> = {}): Promise<DagRun> {
  const env = {
    PATH: `${join(folder, 'bin')}:/usr/bin:/bin`,
    PYTHONPATH: join(folder, 'python'),
    PYTHONDONTWRITEBYTECODE: '1',
    NODE: process.execPath,
    MAIN: join(ROOT, 'src', 'cli', 'main.ts'),
    AIRFLOW_CONN_SALES: `postgres://etl:etl@127.0.0.1:${server.port}/postgres`,
    BRONZE: folder,
    POOLSMITH: folder,
    RUN_ID: runId,
    DATA_INTERVAL_END: '2024-01-02T00:00:00+00:00',
    ...environment,
  }
  const dag = join(ROOT, 'examples', 'airflow-partitions', 'dag.py')
  return promisify(execFile)('/usr/bin/python3', ['-W', 'error', dag], { env, timeout: 100_000 }).then(
    ({ stdout }) => ({ code: 0, stdout }),
    (error: { code: number; stdout: string; stderr: string }) => ({
      code: error.code,
      stdout: error.stdout + error.stderr,
    }),
  )
}

async function manifests(): Promise<{ folder: string; names: string[] }> {
  const entries = await readdir(join(folder, 'bronze'), { recursive: true, withFileTypes: true })
  const found = entries.filter(({ name }) => name.startsWith('_manifest-'))
  return { folder: found[0]?.parentPath ?? '', names: found.map(({ name }) => name) }
}

test('the DAG plans, reads every settled row in eight parts, and retries a part that failed', async () => {
  const { code, stdout } = await runDag('scheduled__2024-01-01T00:00:00+00:00', { FAIL_ONCE: '3' })
  assert.equal(code, 0, stdout)
  assert.match(stdout, /^failed: CONNECTION_LOST: gone again$/m)
  assert.match(stdout, /^4000 rows in 8 files$/m)
  const { folder: place, names } = await manifests()
  assert.equal(names.length, 8)
  const ids: string[] = []
  for (const name of names) {
    const manifest = JSON.parse(await readFile(join(place, name), 'utf8')) as Manifest
    ids.push(...(await columnOf({ ...manifest, folder: place }, 'id')))
  }
  assert.deepEqual(
    ids.map(Number).toSorted((a, b) => a - b),
    Array.from({ length: 4000 }, (_, index) => index + 1),
  )
})

test('the task fails with the error of poolsmith', async () => {
  await server.sql('revoke select on flights from etl')
  const { code, stdout } = await runDag('manual__2024-01-02T00:00:00+00:00')
  await server.sql('grant select on flights to etl')
  assert.notEqual(code, 0)
  assert.match(stdout, /RuntimeError: PERMISSION_DENIED: .* Grant the role SELECT/)
})
