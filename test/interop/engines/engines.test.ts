/** The examples of examples/engines, each run by its engine. */

import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, mkdir, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { projectWithPackage } from '../../support/built-package.ts'
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
import { freePort } from '../../support/free-port.ts'
import { fetched, pythonOf } from '../../support/interop.ts'
import { type PostgresServer, startPostgres } from '../../support/postgres.ts'

const EXAMPLES = join(import.meta.dirname, '..', '..', '..', 'examples', 'engines')
const LIMIT_MILLIS = 600_000

const stack = new AsyncDisposableStack()
let server: PostgresServer
let folder: string

before(async () => {
  server = stack.use(await startPostgres())
  folder = stack.use(await temporaryFolder()).path
  await makeFlights(server)
  await installCommand(folder)
})
after(() => stack.disposeAsync())

/** A Redis on loopback that keeps nothing. */
async function startRedis(): Promise<{ readonly url: string } & AsyncDisposable> {
  const port = await freePort()
  const options = ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', folder]
  const child = spawn('/usr/bin/redis-server', options, { stdio: ['ignore', 'pipe', 'inherit'] })
  for await (const line of createInterface(child.stdout)) if (line.includes('Ready to accept connections')) break
  return {
    url: `redis://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      const ended = once(child, 'exit')
      child.kill()
      await ended
    },
  }
}

/** The needs of both Python examples, and the folder to which a run of them writes. */
async function place(name: string, fault: Fault) {
  const path = join(folder, name)
  await mkdir(path)
  const { environment, calls } = await recordCalls(join(folder, `${name}-calls`), fault)
  const env = {
    PATH: `${join(fetched('engines', 'python'), 'bin')}:/usr/bin:/bin`,
    HOME: folder,
    JAVA_HOME: process.env['JAVA_HOME'],
    AIRFLOW_CONN_SALES: etlUri(server),
    BRONZE: path,
    POOLSMITH: folder,
    ...environment,
  }
  return { path, env, calls }
}

function runPython(example: string, env: NodeJS.ProcessEnv): Promise<{ stdout: string; stderr: string }> {
  const limits = { timeout: LIMIT_MILLIS, maxBuffer: 2 ** 26 }
  return promisify(execFile)(pythonOf('engines'), [join(EXAMPLES, example)], { env, cwd: folder, ...limits })
}

test('BullMQ reads the parts, and its workers stop on SIGTERM', async () => {
  await using redis = await startRedis()
  await using project = await projectWithPackage(['pg', 'apache-arrow'])
  await symlink(join(fetched('engines', 'npm'), 'node_modules', 'bullmq'), join(project.path, 'node_modules', 'bullmq'))
  await copyFile(join(EXAMPLES, 'bullmq.mjs'), join(project.path, 'bullmq.mjs'))
  const settings = {
    cwd: project.path,
    timeout: LIMIT_MILLIS,
    env: {
      PATH: process.env['PATH'],
      HOME: folder,
      AIRFLOW_CONN_SALES: etlUri(server),
      BRONZE: join(folder, 'bullmq'),
      REDIS_URL: redis.url,
    },
  }
  await promisify(execFile)(process.execPath, ['bullmq.mjs', 'plan'], settings)
  const worker = spawn(process.execPath, ['bullmq.mjs', 'work'], { ...settings, stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(worker, 'exit')
  const read: number[] = []
  for await (const line of createInterface(worker.stdout)) {
    const [name, rows] = line.split(' ')
    if (name === 'read') read.push(Number(rows))
    else worker.kill('SIGTERM')
  }
  assert.deepEqual(await ended, [0, null])
  assert.equal(read.length, 8)
  assert.deepEqual(await extractedIds(join(folder, 'bullmq')), idsTo(4100))
})

test('Ray reads the parts, and runs a task again whose process was killed', async () => {
  const { path, env, calls } = await place('ray', { when: '#3', how: 'killed' })
  const { stdout } = await runPython('ray_parts.py', { ...env, RAY_USAGE_STATS_ENABLED: '0', RAY_TMPDIR: folder })
  assert.match(stdout, /^4100 rows$/m)
  assert.equal((await calls()).filter((call) => call.includes('#')).length, 9)
  assert.deepEqual(await extractedIds(path), idsTo(4100))
})

test('Spark reads the parts, and runs a task again that may succeed later', async () => {
  const { path, env, calls } = await place('spark', { when: '#3', how: 'refused' })
  // Four tries of each task, as a cluster has by default.
  const local = { PYSPARK_SUBMIT_ARGS: '--master local[2,4] pyspark-shell', SPARK_LOCAL_IP: '127.0.0.1' }
  const { stdout } = await runPython('spark_parts.py', { ...env, ...local })
  assert.match(stdout, /^4100 rows$/m)
  assert.equal((await calls()).filter((call) => call.includes('#')).length, 9)
  assert.deepEqual(await extractedIds(path), idsTo(4100))
})
