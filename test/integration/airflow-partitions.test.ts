/**
 * The DAG of examples/airflow-partitions, run by Python as it is. Airflow itself is replaced by the little that the DAG
 * uses of it: decorators, values of the run, mapped tasks, retries, values that go from task to task as JSON.
 * test/interop/airflow runs it by Airflow.
 */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import {
  etlUri,
  extractedIds,
  type Fault,
  idsTo,
  installCommand,
  makeFlights,
  recordCalls,
} from '../support/flights.ts'
import { temporaryFolder } from '../support/folder.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'

const ROOT = join(import.meta.dirname, '..', '..')

const SDK = `
import inspect, json, os
from datetime import datetime
from types import SimpleNamespace
from .exceptions import AirflowFailException

_RETRIES = 0
_MOMENT = datetime.fromisoformat(os.environ["MOMENT"])
# As in Airflow 3, only a run with a logical date has a data interval.
_CONTEXT = {"run_id": os.environ["RUN_ID"], "dag_run": SimpleNamespace(run_after=_MOMENT)}
if "DATED" in os.environ:
    _CONTEXT["data_interval_end"] = _MOMENT

class Connection:
    def get(name):
        return SimpleNamespace(get_uri=lambda: os.environ["AIRFLOW_CONN_" + name.upper()])

class _Result:
    def __init__(self, value):
        self.value = json.loads(json.dumps(value))

    def __rshift__(self, later):
        return later

class _Task:
    def __init__(self, function):
        self.function = function
        self.context = {name: _CONTEXT[name] for name in inspect.signature(function).parameters if name in _CONTEXT}

    def __call__(self, **named):
        for left in range(_RETRIES, -1, -1):
            try:
                return _Result(self.function(**self.context, **named))
            except Exception as error:
                print(f"failed: {type(error).__name__}: {error}", flush=True)
                if left == 0 or isinstance(error, AirflowFailException):
                    raise

    def expand(self, **mapped):
        [(name, values)] = mapped.items()
        return _Result([self(**{name: value}).value for value in values.value])

task = _Task

def dag(schedule, start_date, catchup, default_args):
    global _RETRIES
    _RETRIES = default_args["retries"]
    return lambda function: function
`

const EXCEPTIONS = `
class AirflowFailException(Exception):
    pass
`

const PENDULUM = `
from datetime import timedelta as duration

def datetime(year, month, day, tz):
    return (year, month, day, tz)
`

const stack = new AsyncDisposableStack()
let server: PostgresServer
let folder: string
let runs = 0

before(async () => {
  server = stack.use(await startPostgres())
  folder = stack.use(await temporaryFolder()).path
  await makeFlights(server)
  await installCommand(folder)
  await mkdir(join(folder, 'python', 'airflow', 'sdk'), { recursive: true })
  const files = {
    'airflow/__init__.py': '',
    'airflow/sdk/__init__.py': SDK,
    'airflow/sdk/exceptions.py': EXCEPTIONS,
    'pendulum.py': PENDULUM,
  }
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, 'python', name), content)
})
after(() => stack.disposeAsync())

interface DagRun {
  readonly code: number
  readonly stdout: string
  readonly calls: readonly string[]
  readonly ids: () => Promise<number[]>
}

async function runDag(run: 'dated' | 'undated', fault?: Fault): Promise<DagRun> {
  const place = join(folder, `run-${runs++}`)
  await mkdir(place)
  const { environment, calls } = await recordCalls(join(place, 'calls'), fault)
  const env = {
    PATH: '/usr/bin:/bin',
    PYTHONPATH: join(folder, 'python'),
    PYTHONDONTWRITEBYTECODE: '1',
    AIRFLOW_CONN_SALES: etlUri(server),
    BRONZE: place,
    POOLSMITH: folder,
    RUN_ID: 'manual__2024-01-02T00:00:00+00:00',
    MOMENT: '2024-01-02T00:00:00+00:00',
    ...(run === 'dated' ? { DATED: 'yes' } : {}),
    ...environment,
  }
  const dag = join(ROOT, 'examples', 'airflow-partitions', 'dag.py')
  const ended = await promisify(execFile)('/usr/bin/python3', ['-W', 'error', dag], { env, timeout: 200_000 }).then(
    ({ stdout }) => ({ code: 0, stdout }),
    (error: { code: number; stdout: string; stderr: string }) => ({
      code: error.code,
      stdout: error.stdout + error.stderr,
    }),
  )
  return { ...ended, calls: await calls(), ids: () => extractedIds(join(place, 'bronze')) }
}

test('the DAG reads every settled row, and tries a part again that may succeed later', async () => {
  const { code, stdout, calls, ids } = await runDag('dated', { when: '#3', how: 'refused' })
  assert.equal(code, 0, stdout)
  assert.match(stdout, /^failed: RuntimeError: CONNECT_REFUSED: /m)
  assert.deepEqual(await ids(), idsTo(4000))
  // A plan, eight parts of which one is read twice, and the end.
  assert.equal(calls.length, 11)
})

test('a run without a logical date ends at its own moment, and a killed process is told and tried again', async () => {
  const { code, stdout, ids } = await runDag('undated', { when: '--plan', how: 'killed' })
  assert.equal(code, 0, stdout)
  assert.match(stdout, /^failed: RuntimeError: poolsmith was killed by SIGKILL$/m)
  assert.deepEqual(await ids(), idsTo(4000))
})

test('a permanent error fails the task at once', async () => {
  await server.sql('revoke select on flights from etl')
  const { code, stdout, calls } = await runDag('dated')
  await server.sql('grant select on flights to etl')
  assert.notEqual(code, 0)
  assert.match(stdout, /AirflowFailException: PERMISSION_DENIED: .* Grant the role SELECT/)
  assert.equal(calls.length, 1)
})
