import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'
import { PHASE_EXIT_CODES } from '../../../src/cli/exit-codes.ts'
import { runCli } from '../../support/cli.ts'
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
    create table endless as select i, repeat('x', 100) as filling from generate_series(1, 400000) i;
    grant select on all tables in schema public to etl`)
  location = `postgres://etl:hunter2@127.0.0.1:${server.port}/postgres`
})
after(() => stack.disposeAsync())

async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
}

test('extract writes a Parquet file that another reader reads, and says where', async () => {
  await using folder = await temporaryFolder()
  const { code, stdout, stderr } = await runCli(['extract', location, 'public."Weird.Name"', '--to', folder.path])
  assert.equal(code, 0, stderr)
  assert.match(stdout, /^public\.Weird\.Name: 1,000 rows, .* in .*\n {2}folder /)
  assert.doesNotMatch(stdout + stderr, /hunter2/)
  const [path = ''] = (await filesBelow(folder.path)).filter((name) => name.endsWith('.parquet'))
  const rows = await parquetReadObjects({ file: await asyncBufferFromFile(path), compressors })
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

test('Ctrl-C ends an extract with exit code 130, leaves no file and no statement on the server', async () => {
  await using folder = await temporaryFolder()
  const running = async (): Promise<void> => {
    // As soon as the server is sending.
    while ((await server.sql('select count(*) from pg_stat_progress_copy where tuples_processed > 0')) === '0');
  }
  const { code, stderr } = await runCli(['extract', location, 'endless', '--to', folder.path, '--format', 'jsonl'], {
    interrupt: { when: running(), signal: 'SIGINT' },
  })
  assert.equal(code, 130, stderr)
  assert.match(stderr, /poolsmith extract: interrupted\n$/)
  assert.deepEqual(await filesBelow(folder.path), [])
  assert.equal(await server.sql("select count(*) from pg_stat_activity where usename = 'etl'"), '0')
})
