import assert from 'node:assert/strict'
import { chmod, chown, mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'
import { EXIT_CODES, PHASE_EXIT_CODES } from '../../../src/cli/exit-codes.ts'
import { runCli } from '../../support/cli.ts'
import { eventually, filesBelow } from '../../support/extract.ts'
import { temporaryFolder } from '../../support/folder.ts'
import { type PostgresServer, startPostgres } from '../../support/postgres.ts'

const stack = new AsyncDisposableStack()
let server: PostgresServer
let location: string

before(async () => {
  server = stack.use(await startPostgres())
  await server.sql(`
    create role etl login password 'hunter2';
    create table "Weird.Name" (n integer, "a,b" text);
    insert into "Weird.Name" select i, 'row ' || i from generate_series(1, 1000) i;
    create view trickle as select i, pg_sleep(0.05)::text as filling from generate_series(1, 1000000) i;
    create table endless as select i, repeat('x', 100) as filling from generate_series(1, 400000) i;
    grant select on all tables in schema public to etl`)
  location = `postgres://etl:hunter2@127.0.0.1:${server.port}/postgres`
})
after(() => stack.disposeAsync())

test('extract writes a Parquet file that another reader reads, and says where', async () => {
  await using folder = await temporaryFolder()
  const { code, stdout, stderr } = await runCli(['extract', location, 'public."Weird.Name"', '--to', folder.path])
  assert.equal(code, 0, stderr)
  assert.match(stdout, /^public\.Weird\.Name: 1,000 rows, .* in .*\n {2}folder /)
  assert.doesNotMatch(stdout + stderr, /hunter2/)
  const [path = ''] = (await filesBelow(folder.path)).filter((name) => name.endsWith('.parquet'))
  const rows = await parquetReadObjects({ file: await asyncBufferFromFile(join(folder.path, path)), compressors })
  assert.equal(rows.length, 1000)
  assert.equal(rows[999]?.['a,b'], 'row 1000')
})

test('--json gives the manifest as one object and nothing else; --format, --columns and --source are heeded', async () => {
  await using folder = await temporaryFolder()
  const args = ['--to', folder.path, '--format', 'csv', '--columns', 'n', '--source', 'shop', '--json']
  const { code, stdout, stderr } = await runCli(['extract', location, '"Weird.Name"', ...args])
  assert.equal(code, 0, stdout)
  assert.equal(stderr, '')
  const answer = JSON.parse(stdout)
  assert.equal(answer.ok, true)
  assert.equal(answer.rows, 1000)
  assert.equal(answer.source, 'shop')
  const text = await readFile(join(answer.folder, answer.files[0].name), 'utf8')
  assert.match(text, /^n,_extracted_at,_source,_batch_id\n1,/)
})

test('a table that does not exist ends with the exit code of the query phase and leaves no file', async () => {
  await using folder = await temporaryFolder()
  const { code, stderr } = await runCli(['extract', location, 'public.endles', '--to', folder.path])
  assert.equal(code, PHASE_EXIT_CODES.query, stderr)
  assert.match(stderr, /endless/)
  assert.deepEqual(await filesBelow(folder.path), [])
})

test('a folder that this user may not write in is an error of the phase write, and says which', async () => {
  await using folder = await temporaryFolder()
  const closed = join(folder.path, 'closed')
  await mkdir(closed, { mode: 0o555 })
  for (const more of [[], ['--partitions', '2']]) {
    const { code, stderr } = await runCli(
      ['extract', location, 'endless', '--to', join(closed, 'bronze'), '--format', 'csv', ...more],
      { unprivileged: true },
    )
    assert.equal(code, PHASE_EXIT_CODES.write, stderr)
    assert.match(stderr, /TARGET_NOT_WRITABLE/)
    assert.ok(stderr.includes(join(closed, 'bronze')), stderr)
  }
  assert.deepEqual(await filesBelow(folder.path), [])
})

test('on a terminal it draws a bar, and the last thing on the screen is the result', async () => {
  await using folder = await temporaryFolder()
  await server.sql('analyze endless')
  const { code, stdout } = await runCli(['extract', location, 'endless', '--to', folder.path, '--format', 'csv'], {
    terminal: true,
    environment: { TERM: 'xterm-256color', NO_COLOR: '1' },
  })
  assert.equal(code, 0, stdout)
  // Each drawing wipes the line that it stands on.
  const [, ...drawn] = stdout.split('\r\x1b[2K')
  assert.match(drawn[0] ?? '', /^endless \[[#-]{16}\] \d+% {2}[\d,]+ rows/)
  const rest = drawn.at(-1) ?? ''
  assert.match(rest, /^public\.endless: 400,000 rows/)
})

for (const [signal, exitCode] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const) {
  test(`${signal} ends an extract with exit code ${exitCode}, and leaves no file and no statement on the server`, async () => {
    await using folder = await temporaryFolder()
    const running = async (): Promise<void> => {
      // As soon as the server is sending.
      const sending = 'select count(*) from pg_stat_progress_copy where tuples_processed > 0'
      while ((await server.sql(sending)) === '0') await sleep(20)
    }
    const args = ['extract', location, 'trickle', '--to', folder.path, '--format', 'jsonl']
    const { code, stderr } = await runCli(args, { interrupt: { when: running(), signal } })
    assert.equal(code, exitCode, stderr)
    assert.match(stderr, /poolsmith extract: interrupted\n$/)
    assert.deepEqual(await filesBelow(folder.path), [])
    // A session that was closed may still be on its way out.
    const busy = "select count(*) from pg_stat_activity where usename = 'etl' and state <> 'idle'"
    await eventually('no statement runs', async () => (await server.sql(busy)) === '0')
  })
}

test('a plan without a held snapshot says on the terminal that its parts are read at moments of their own', async () => {
  await using folder = await temporaryFolder()
  const plan = join(folder.path, 'plan.json')
  const args = ['extract', location, 'endless', '--format', 'csv', '--partitions', '2', '--plan', plan]
  const { stdout } = await runCli(args)
  assert.match(stdout, /2 partitions[^\n]*\n +note +Each part was read at a moment of its own/)
  assert.match(JSON.parse(await readFile(plan, 'utf8')).notes.join(), /^Each part was read at a moment of its own/)
  const { stdout: part } = await runCli(['extract', location, '--partition', `${plan}#0`, '--to', folder.path])
  assert.match(part, /note +Each part was read at a moment of its own/)
  const manifest = (await filesBelow(folder.path)).find((name) => name.includes('_manifest-')) ?? ''
  const { notes } = JSON.parse(await readFile(join(folder.path, manifest), 'utf8'))
  assert.match(notes.join(), /^Each part was read at a moment of its own/)
})

test('the command takes a condition, partitions, a watermark with its state, and a hash', async () => {
  await using folder = await temporaryFolder()
  const run = async (...more: string[]): Promise<{ rows: number; files: { name: string }[]; folder: string }> => {
    const { code, stdout } = await runCli(['extract', location, 'endless', '--to', folder.path, '--json', ...more])
    assert.equal(code, 0, stdout)
    return JSON.parse(stdout)
  }
  const selected = await run(
    '--where',
    "i <= 10 and filling <> 'what?'",
    '--row-hash',
    '--format',
    'csv',
    '--columns',
    'i',
  )
  assert.equal(selected.rows, 10)
  const text = await readFile(join(selected.folder, selected.files[0]?.name ?? ''), 'utf8')
  assert.match(text, /^i,_row_hash,_extracted_at,_source,_batch_id\n1,[0-9a-f]{64},/)

  const parted = await run('--partitions', '3', '--format', 'csv')
  assert.deepEqual([parted.rows, parted.files.length], [400_000, 3])
  const ranged = await run('--partitions', '2', '--partition-by', 'i', '--where', 'i <= 100', '--format', 'csv')
  assert.deepEqual([ranged.rows, ranged.files.length], [100, 2])

  const state = join(folder.path, 'state.json')
  const since = ['--watermark', 'i', '--after', '399990', '--state', state, '--where', 'i is not null']
  assert.equal((await run(...since)).rows, 10)
  assert.equal((await run(...since)).rows, 0)
  assert.equal((await run('--watermark', 'i', '--from', '399990', '--format', 'csv')).rows, 11)
  const { stdout } = await runCli(['extract', location, 'endless', '--to', folder.path, ...since])
  assert.match(stdout, /watermark\s+i 400000/)
})

test('--columns and --as-text take names with commas', async () => {
  await using folder = await temporaryFolder()
  await server.sql(`create table late ("a,b" int, at timestamp); insert into late values (1, '294276-12-31');
    grant select on late to etl`)
  const args = ['extract', location, 'late', '--to', folder.path, '--json']
  const refused = await runCli(args)
  assert.equal(refused.code, PHASE_EXIT_CODES.query, refused.stdout)
  assert.match(JSON.parse(refused.stdout).error.hint, /--as-text/)
  const { code, stdout } = await runCli([...args, '--columns', 'at,"a,b"', '--as-text', 'at', '--format', 'csv'])
  assert.equal(code, 0, stdout)
  const answer = JSON.parse(stdout)
  const text = await readFile(join(answer.folder, answer.files[0].name), 'utf8')
  assert.match(text, /^at,"a,b",.*\n294276-12-31 00:00:00,1,/)
})

test('--guard-formulas guards the cells of CSV, and is refused for another format', async () => {
  await using folder = await temporaryFolder()
  const query = "select '=1+1' as a, -1 as b"
  const args = ['extract', location, 'reports.guarded', '--query', query, '--to', folder.path, '--guard-formulas']
  const { code, stdout } = await runCli([...args, '--format', 'csv', '--json'])
  assert.equal(code, 0, stdout)
  const { folder: day, files } = JSON.parse(stdout)
  assert.match(await readFile(join(day, files[0].name), 'utf8'), /\n'=1\+1,-1,/)
  const refused = await runCli(args)
  assert.equal(refused.code, PHASE_EXIT_CODES.config, refused.stderr)
  assert.match(refused.stderr, /`guardFormulas` is for CSV, and not for parquet/)
})

test('--query reads a query under the name given, also from a file', async () => {
  await using folder = await temporaryFolder()
  const file = join(folder.path, 'q.sql')
  await writeFile(file, "select i as id, i || '?' as label from endless where i < 5;\n")
  for (const query of ['select i from endless where i < 5', `@${file}`]) {
    const args = ['extract', location, 'reports.small', '--query', query, '--to', folder.path, '--json']
    const { code, stdout } = await runCli(args)
    assert.equal(code, 0, stdout)
    const { rows, schema, table } = JSON.parse(stdout)
    assert.deepEqual([rows, schema, table], [4, 'reports', 'small'])
  }
})

test('a plan is run partition by partition, and a partition that is whole is not read again', async () => {
  await using folder = await temporaryFolder()
  const plan = join(folder.path, 'plan.json')
  // As a planner leaves it that is killed in the middle.
  await writeFile(join(folder.path, '.plan.json.tmp'), '{')
  const planned = await runCli(['extract', location, 'endless', '--partitions', '3', '--format', 'csv', '--plan', plan])
  assert.equal(planned.code, 0, planned.stderr)
  assert.match(planned.stdout, /public\.endless: 3 partitions in /)
  const to = join(folder.path, 'bronze')
  const rowsOf = async (number: number): Promise<{ rows: number; finishedAt: string }> => {
    const { code, stdout } = await runCli([
      'extract',
      location,
      '--partition',
      `${plan}#${number}`,
      '--to',
      to,
      '--json',
    ])
    assert.equal(code, 0, stdout)
    return JSON.parse(stdout)
  }
  const parts = await Promise.all([0, 1, 2].map(rowsOf))
  assert.equal(
    parts.reduce((sum, { rows }) => sum + rows, 0),
    400_000,
  )
  assert.equal((await rowsOf(1)).finishedAt, parts[1]?.finishedAt)
  assert.equal((await filesBelow(to)).length, 6)
  const beyond = await runCli(['extract', location, '--partition', `${plan}#3`, '--to', to])
  assert.equal(beyond.code, PHASE_EXIT_CODES.config, beyond.stderr)
  assert.match(beyond.stderr, /PLAN_INVALID/)
  const none = join(folder.path, 'none.json')
  await writeFile(none, 'null')
  const noPlan = await runCli(['extract', location, '--partition', `${none}#0`, '--to', to])
  assert.equal(noPlan.code, PHASE_EXIT_CODES.config, noPlan.stderr)
})

const asRoot = { skip: process.geteuid?.() !== 0 }

test(
  "a plan is written for this user alone; another user's, or one that others may write, is refused",
  asRoot,
  async () => {
    await using folder = await temporaryFolder()
    const plan = join(folder.path, 'plan.json')
    await runCli(['extract', location, '"Weird.Name"', '--format', 'csv', '--plan', plan])
    assert.equal((await stat(plan)).mode & 0o777, 0o600)
    const read = () => runCli(['extract', location, '--partition', `${plan}#0`, '--to', join(folder.path, 'bronze')])
    const refused = async (message: RegExp): Promise<void> => {
      const { code, stderr } = await read()
      assert.equal(code, PHASE_EXIT_CODES.config, stderr)
      assert.match(stderr, /PLAN_INVALID/)
      assert.match(stderr, message)
    }
    await chmod(plan, 0o666)
    await refused(/may be written by other users/)
    await chmod(plan, 0o600)
    await chown(plan, 65_534, 65_534)
    await refused(/belongs to the user with the id 65534/)
    await chown(plan, 0, 0)
    assert.equal((await read()).code, 0)
  },
)

test('--hold keeps the snapshot of the plan until Ctrl-C', async () => {
  await using folder = await temporaryFolder()
  await server.sql('create table held as select generate_series(1, 100) as i; grant select on held to etl')
  const plan = join(folder.path, 'plan.json')
  let rows = 0
  const used = async (): Promise<void> => {
    while (!(await readFile(plan, 'utf8').catch(() => ''))) await sleep(20)
    await server.sql('delete from held')
    const args = ['extract', location, '--partition', `${plan}#0`, '--to', folder.path, '--json']
    rows = JSON.parse((await runCli(args)).stdout).rows
  }
  const { stderr } = await runCli(['extract', location, 'held', '--format', 'csv', '--plan', plan, '--hold'], {
    interrupt: { when: used(), signal: 'SIGINT' },
  })
  assert.match(stderr, /its snapshot is held until Ctrl-C/)
  assert.equal(rows, 100)
  // A session that was closed may still be on its way out.
  assert.equal(await server.sql("select count(*) from pg_stat_activity where usename = 'etl' and state <> 'idle'"), '0')
})

test('--hold says so when its session is lost', async () => {
  await using folder = await temporaryFolder()
  const plan = join(folder.path, 'plan.json')
  const killed = (async (): Promise<void> => {
    while (!(await readFile(plan, 'utf8').catch(() => ''))) await sleep(20)
    await server.sql("select pg_terminate_backend(pid) from pg_stat_activity where state = 'idle in transaction'")
  })()
  const { code, stderr } = await runCli(['extract', location, 'endless', '--plan', plan, '--hold'])
  await killed
  assert.equal(code, EXIT_CODES.tryAgain, stderr)
  assert.match(stderr, /CONNECTION_LOST/)
})

const usage: readonly [string, string[], RegExp][] = [
  ['no table', ['--to', 'x'], /<schema\.table> is missing/],
  ['no target', ['endless'], /--to is missing/],
  ['a number that is none', ['endless', '--to', 'x', '--partitions', '0'], /--partitions expects a whole number/],
  ['--state without --watermark', ['endless', '--to', 'x', '--state', 's'], /need --watermark/],
  ['--from without --watermark', ['endless', '--to', 'x', '--from', '1'], /need --watermark/],
  ['--from and --after', ['endless', '--to', 'x', '--watermark', 'i', '--from', '1', '--after', '1'], /not both/],
  ['--hold without --plan', ['endless', '--to', 'x', '--hold'], /--hold goes with --plan/],
  ['--partition without a number', ['--partition', 'plan.json', '--to', 'x'], /expects FILE#K/],
  ['--partition of no file', ['--partition', '/nowhere/plan.json#1', '--to', 'x'], /cannot be read/],
  ['--partition and a table', ['endless', '--partition', 'p#1', '--to', 'x'], /takes the table from the plan/],
  ['--partition and --where', ['--partition', 'p#1', '--to', 'x', '--where', 'true'], /leave --where out/],
]
for (const [name, args, message] of usage) {
  test(`usage: ${name}`, async () => {
    const { code, stderr } = await runCli(['extract', location, ...args])
    assert.equal(code, 2, stderr)
    assert.match(stderr, message)
  })
}
