import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import pg from 'pg'
import { EXIT_CODES, PHASE_EXIT_CODES } from '../../../src/cli/exit-codes.ts'
import type { ExtractPlan } from '../../../src/extract/plan.ts'
import { type Finished, poolsmith } from '../../support/cli-in-process.ts'
import { eventually, filesBelow } from '../../support/extract.ts'
import { temporaryFolder } from '../../support/folder.ts'
import { type PostgresServer, startPostgres } from '../../support/postgres.ts'

const stack = new AsyncDisposableStack()
let server: PostgresServer
let location: string
let folder: string
let plan: string

before(async () => {
  server = stack.use(await startPostgres())
  folder = stack.use(await temporaryFolder()).path
  await server.sql(`create role etl login password 'hunter2'; create table t as select generate_series(1, 1000) as i;
    grant select on all tables in schema public to etl`)
  location = `postgres://etl:hunter2@127.0.0.1:${server.port}/postgres`
  plan = join(folder, 'plan.json')
  await planned()
})
after(() => stack.disposeAsync())

type Answer = Record<string, unknown> & { readonly error: Record<string, unknown> }

async function extract(
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
  input = '',
): Promise<Finished & { readonly answer: Answer }> {
  const finished = await poolsmith(['extract', location, ...args, '--json'], environment, input)
  return { ...finished, answer: JSON.parse(finished.out) as Answer }
}

const planned = (...more: string[]): Promise<Finished & { readonly answer: Answer }> =>
  extract(['t', '--partitions', '4', '--partition-by', 'i', '--format', 'csv', '--plan', plan, ...more])

test('a plan of the same request is kept, and --new-plan makes another', async () => {
  await planned()
  const text = await readFile(plan, 'utf8')
  assert.equal((await planned()).answer.kept, true)
  assert.equal(await readFile(plan, 'utf8'), text)
  assert.equal((await planned('--new-plan')).answer.kept, false)
  assert.notEqual(await readFile(plan, 'utf8'), text)
  const dated = await planned('--extracted-at', '2024-03-31T23:59:59.123456+00:00')
  assert.equal(dated.answer.kept, false)
  assert.match(String(dated.answer.notes), /Each part was read at a moment of its own/)
  assert.equal(JSON.parse(await readFile(plan, 'utf8')).extractedAt, '2024-03-31T23:59:59.123Z')
})

test('the part comes from --index or the environment, and more processes than parts is success with no rows', async () => {
  const to = ['--to', join(folder, 'indexed')]
  const read = ['--partition', plan, ...to]
  const numberOf = async (args: readonly string[], environment = {}): Promise<unknown> => {
    const { code, answer } = await extract([...read, ...args], environment)
    assert.equal(code, 0, JSON.stringify(answer))
    return (answer.partition as { number: number } | undefined)?.number
  }
  assert.equal(await numberOf(['--index', '0']), 0)
  assert.equal(await numberOf([], { JOB_COMPLETION_INDEX: '1' }), 1)
  assert.equal(await numberOf([], { AWS_BATCH_JOB_ARRAY_INDEX: '2', SLURM_ARRAY_TASK_ID: '2' }), 2)
  const missing = await extract(['--finish', plan, ...to])
  assert.equal(missing.code, EXIT_CODES.tryAgain)
  assert.deepEqual([missing.answer.error.code, missing.answer.error.transient], ['EXTRACT_INCOMPLETE', true])
  assert.equal((await extract(['--partition', '-', '--index', '1/2', ...to], {}, await readFile(plan, 'utf8'))).code, 0)
  const beyond = await extract([...read], { CLOUD_RUN_TASK_INDEX: '4' })
  assert.deepEqual([beyond.code, beyond.answer.rows, beyond.answer.ok], [0, 0, true])
  const whole = await extract(['--finish', plan, ...to])
  assert.deepEqual([whole.code, whole.answer.rows, (whole.answer.files as unknown[]).length], [0, 1000, 4])
})

test('--wait waits for a part that another session is reading; without it the exit code says to try again', async () => {
  const { checksum } = JSON.parse(await readFile(plan, 'utf8')) as ExtractPlan
  // The lock that a session takes for the part.
  const lock = createHash('sha256').update(`${checksum}#0`).digest().readBigInt64BE()
  const holder = new pg.Client({
    host: server.host,
    port: server.port,
    user: 'etl',
    password: 'hunter2',
    database: 'postgres',
  })
  await holder.connect()
  try {
    await holder.query('select pg_advisory_lock($1)', [String(lock)])
    const read = ['--partition', `${plan}#0`, '--to', join(folder, 'waiting')]
    const busy = await extract(read)
    assert.deepEqual(
      [busy.code, busy.answer.error.code, busy.answer.error.transient],
      [EXIT_CODES.tryAgain, 'EXTRACT_BUSY', true],
    )
    assert.equal((await extract([...read, '--wait', 'x'])).code, EXIT_CODES.usage)
    const waiting = extract([...read, '--wait', '60'])
    const idle = `select count(*) from pg_stat_activity
      where usename = 'etl' and state = 'idle' and query not like 'select pg_advisory%'`
    await eventually('the command waits without a transaction', async () => (await server.sql(idle)) !== '0')
    await holder.query('select pg_advisory_unlock($1)', [String(lock)])
    const { code, answer } = await waiting
    assert.deepEqual([code, (answer.partition as { number: number }).number], [0, 0])
  } finally {
    await holder.end()
  }
})

test('--finish --mode overwrite removes an older batch, and --mode does not go with a plan or a part', async () => {
  const to = join(folder, 'replaced')
  const { extractedAt } = JSON.parse(await readFile(plan, 'utf8')) as ExtractPlan
  const older = await extract(['t', '--to', to, '--format', 'csv', '--extracted-at', extractedAt])
  assert.equal((await extract(['--partition', plan, '--index', '0/1', '--to', to])).code, 0)
  const beside = await extract(['--finish', plan, '--to', to])
  assert.ok((await filesBelow(to)).some((name) => name.includes(String(older.answer.batchId))))
  const whole = await extract(['--finish', plan, '--to', to, '--mode', 'overwrite'])
  assert.deepEqual([whole.code, whole.answer.rows, whole.answer.files], [0, 1000, beside.answer.files])
  assert.ok((await filesBelow(to)).every((name) => name.includes(String(whole.answer.batchId))))
  for (const args of [
    ['--partition', `${plan}#0`, '--to', to],
    ['t', '--plan', plan],
  ]) {
    assert.equal((await extract([...args, '--mode', 'overwrite'])).code, EXIT_CODES.usage)
  }
})

test('a plan that cannot be used is an error with its path, and an index that is none a wrong command line', async () => {
  const to = ['--to', join(folder, 'bad')]
  const half = join(folder, 'half.json')
  await writeFile(half, (await readFile(plan, 'utf8')).slice(0, -20), { mode: 0o600 })
  const { code, answer } = await extract(['--partition', `${half}#0`, ...to])
  assert.deepEqual([code, answer.error.code, answer.error.transient], [PHASE_EXIT_CODES.config, 'PLAN_INVALID', false])
  assert.equal(answer.error.message, `The plan ${half} cannot be used: it is not whole JSON.`)
  const beyond = await extract(['--partition', `${plan}#4`, ...to])
  assert.equal(beyond.answer.error.message, `The plan ${plan} cannot be used: it has the partitions 0 to 3, and not 4.`)
  for (const index of ['-1', 'x', '1/1', '2/0', '1.5']) {
    const wrong = await extract(['--partition', plan, `--index=${index}`, ...to])
    assert.equal(wrong.code, EXIT_CODES.usage, index)
    const inEnvironment = await extract(['--partition', plan, ...to], { JOB_COMPLETION_INDEX: index })
    assert.match(String(inEnvironment.answer.error.message), /JOB_COMPLETION_INDEX expects a whole number from 0/)
  }
  const both = await extract(['--partition', plan, ...to], { JOB_COMPLETION_INDEX: '0', SLURM_ARRAY_TASK_ID: '1' })
  assert.match(String(both.answer.error.message), /say by --index which one counts/)
  for (const url of ['s3://bucket', '-']) {
    assert.equal((await extract(['t', '--to', url])).answer.error.code, 'CONFIG_INVALID')
    assert.equal((await extract(['t', '--plan', url])).answer.error.code, 'CONFIG_INVALID')
  }
})

test('warnings and drift are in the JSON, and on standard error with --progress', async () => {
  const to = ['--to', join(folder, 'drift'), '--format', 'csv']
  await server.sql('create table drifting as select 1 as i; grant select on drifting to etl')
  const quiet = await extract(['drifting', ...to])
  assert.equal(quiet.log, '')
  assert.deepEqual(
    (quiet.answer.warnings as { kind: string }[]).map(({ kind }) => kind),
    ['security'],
  )
  await server.sql('alter table drifting add column j int')
  const told = await extract(['drifting', ...to, '--progress'])
  assert.match(told.log, /security warning: .*\n.*the columns have changed: \+ j integer/)
  assert.equal((told.answer.drift as { added: unknown[] }).added.length, 1)
  const failed = await extract(['missing', ...to])
  assert.equal((failed.answer.warnings as unknown[]).length, 1)
})
