/** The DAG of examples/airflow-partitions, as Airflow itself runs it. */

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import {
  etlUri,
  extractedIds,
  type Fault,
  idsTo,
  installCommand,
  makeFlights,
  recordCalls,
} from '../../support/flights.ts'
import { temporaryFolder } from '../../support/folder.ts'
import { fetched } from '../../support/interop.ts'
import { type PostgresServer, startPostgres } from '../../support/postgres.ts'

const EXAMPLE = join(import.meta.dirname, '..', '..', '..', 'examples', 'airflow-partitions')
const DAG = 'flights_to_bronze'
const LIMIT_MILLIS = 600_000

const stack = new AsyncDisposableStack()
let server: PostgresServer
let folder: string
let runs = 0

before(async () => {
  server = stack.use(await startPostgres())
  folder = stack.use(await temporaryFolder()).path
  await makeFlights(server)
  await installCommand(folder)
  await mkdir(join(folder, 'dags'))
  const dag = await readFile(join(EXAMPLE, 'dag.py'), 'utf8')
  // The pause before another try.
  assert.ok(dag.includes('minutes=1'))
  await writeFile(join(folder, 'dags', 'dag.py'), dag.replace('minutes=1', 'seconds=1'))
  const { code, output } = await finished(airflow(['airflow', 'db', 'migrate']))
  assert.equal(code, 0, output())
})
after(() => stack.disposeAsync())

interface Process {
  readonly child: ChildProcess
  readonly output: () => string
}

/** A program of Airflow's environment, in a process group of its own. */
function airflow(
  [program = '', ...args]: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Process {
  const bin = join(fetched('airflow', 'python'), 'bin')
  const child = spawn(join(bin, program), args, {
    detached: true,
    timeout: LIMIT_MILLIS,
    killSignal: 'SIGKILL',
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: `${bin}:/usr/bin:/bin`,
      HOME: folder,
      AIRFLOW_HOME: folder,
      AIRFLOW__CORE__DAGS_FOLDER: join(folder, 'dags'),
      AIRFLOW__CORE__LOAD_EXAMPLES: 'False',
      AIRFLOW__USAGE_DATA_COLLECTION__ENABLED: 'False',
      ...environment,
    },
  })
  let text = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
    })
  }
  return { child, output: () => text }
}

async function finished({ child, output }: Process): Promise<{ code: number | null; output: () => string }> {
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, output }
}

interface DagRun {
  readonly code: number | null
  readonly output: string
  readonly calls: readonly string[]
  readonly ids: () => Promise<number[]>
}

interface RunSettings {
  readonly fault?: Fault
  readonly environment?: Readonly<Record<string, string>>
}

async function started(command: readonly string[], { fault, environment }: RunSettings = {}) {
  const place = join(folder, `run-${runs++}`)
  await mkdir(place)
  const record = await recordCalls(join(place, 'calls'), fault)
  const own = { AIRFLOW_CONN_SALES: etlUri(server), BRONZE: place, POOLSMITH: folder }
  return { place, calls: record.calls, ...airflow(command, { ...own, ...record.environment, ...environment }) }
}

async function runDag(command: readonly string[], settings: RunSettings = {}): Promise<DagRun> {
  const { place, calls, ...process } = await started(command, settings)
  const { code, output } = await finished(process)
  return { code, output: output(), calls: await calls(), ids: () => extractedIds(join(place, 'bronze')) }
}

const DATED = ['airflow', 'dags', 'test', DAG, '2024-01-02'] as const
const UNDATED = ['airflow', 'dags', 'test', DAG] as const

test('a run with a date reads every row up to it, and a part that may succeed later is tried again', async () => {
  const { code, output, calls, ids } = await runDag(DATED, { fault: { when: '#3', how: 'refused' } })
  assert.equal(code, 0, output)
  assert.match(output, /RuntimeError: CONNECT_REFUSED/)
  assert.deepEqual(await ids(), idsTo(4000))
  assert.equal(calls.filter((call) => call.includes('#')).length, 9)
  assert.doesNotMatch(output, /dag\.py:\d+: \w*Deprecat/)
})

test('a run at this moment reads every row, and planning is tried again after its process was killed', async () => {
  const { code, output, calls, ids } = await runDag(UNDATED, { fault: { when: '--plan', how: 'killed' } })
  assert.equal(code, 0, output)
  assert.match(output, /RuntimeError: poolsmith was killed by SIGKILL/)
  assert.doesNotMatch(output, /JSONDecodeError/)
  assert.equal(calls.filter((call) => call.includes('--plan')).length, 2)
  assert.deepEqual(await ids(), idsTo(4100))
})

test('a run without a logical date reads every row, by a connection that is kept in Airflow', async () => {
  const add = await finished(airflow(['airflow', 'connections', 'add', 'sales', '--conn-uri', etlUri(server)]))
  assert.equal(add.code, 0, add.output())
  const script = join(import.meta.dirname, 'run_without_date.py')
  const { code, output, ids } = await runDag(['python', script, DAG], { environment: { AIRFLOW_CONN_SALES: '' } })
  assert.equal(code, 0, output)
  assert.deepEqual(await ids(), idsTo(4100))
})

test('a permanent error fails the task at once', async () => {
  await server.sql('revoke select on flights from etl')
  const { code, output, calls } = await runDag(DATED)
  await server.sql('grant select on flights to etl')
  assert.notEqual(code, 0)
  assert.match(output, /AirflowFailException: PERMISSION_DENIED: .* Grant the role SELECT/)
  assert.equal(calls.length, 1)
})

/** The process of the session of `etl` that waits for a lock, other than this one. */
async function waiting(other = ''): Promise<string> {
  for (;;) {
    const pids = await server.sql(
      "select pid from pg_stat_activity where usename = 'etl' and wait_event_type = 'Lock' and state = 'active'",
    )
    if (pids !== '' && pids !== other) return pids
    await sleep(50)
  }
}

test('when Airflow ends a task, or its process is killed, poolsmith ends too', { timeout: LIMIT_MILLIS }, async () => {
  const locker = new pg.Client({
    host: server.socketDirectory,
    port: server.port,
    user: 'postgres',
    database: 'postgres',
  })
  await locker.connect()
  await locker.query('begin; lock table flights')
  const { child, output } = await started(DATED)
  const { pid = 0 } = child
  try {
    const first = await waiting()
    // As Airflow's supervisor ends a task: a signal to its process group.
    process.kill(-pid, 'SIGTERM')
    await waiting(first)
    assert.match(output(), /RuntimeError: ABORTED/)
    child.kill('SIGKILL')
    while ((await server.sql("select pid from pg_stat_activity where usename = 'etl'")) !== '') await sleep(50)
  } finally {
    child.kill('SIGKILL')
    await locker.end()
  }
})
