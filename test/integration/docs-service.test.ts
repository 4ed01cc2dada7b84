/** The program of docs/service.md, as its reader runs it. */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { temporaryFolder } from '../support/folder.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'

const ROOT = join(import.meta.dirname, '..', '..')

async function lockAccounts({ socketDirectory: host, port }: PostgresServer) {
  const client = new pg.Client({ host, port, user: 'postgres', database: 'postgres' })
  await client.connect()
  await client.query('begin; lock table accounts')
  const release = (): Promise<void> => client.end()
  return { release, [Symbol.asyncDispose]: release }
}

test('the service transfers, cancels, listens, says whether it is ready, and ends when its requests are answered', async () => {
  await using server = await startPostgres()
  await using folder = await temporaryFolder()
  await server.sql(`create role etl login password 'etl'; create table accounts (id int, cents int); create table jobs (done bool);
    insert into accounts values (1, 500), (2, 0); insert into jobs values (false);
    create view slow_report as select 1 from pg_sleep(600); grant all on accounts, jobs, slow_report to etl`)
  const page = await readFile(join(ROOT, 'docs', 'service.md'), 'utf8')
  for (const [, name = '', program = ''] of page.matchAll(/^```ts\n\/\/ (\S+)\n(.*?)^```$/gms)) {
    await writeFile(join(folder.path, name), program)
  }
  await writeFile(join(folder.path, 'package.json'), '{ "type": "module" }')
  await symlink(join(ROOT, 'node_modules'), join(folder.path, 'node_modules'))

  const selfImport = join(ROOT, 'test', 'support', 'self-import.ts')
  const child = spawn(process.execPath, [`--import=${selfImport}`, 'main.ts'], {
    cwd: folder.path,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      PATH: process.env.PATH,
      HOME: folder.path,
      PORT: '0',
      DATABASE: `postgres://etl:etl@127.0.0.1:${server.port}/postgres?application_name=service`,
    },
  })
  const ended = once(child, 'exit')
  const until = async (isSo: () => Promise<boolean>): Promise<void> => {
    while (!(await isSo())) {
      assert.equal(child.exitCode, null, 'the service has ended')
      await sleep(20)
    }
  }
  child.stdout.setEncoding('utf8')
  const [address] = (await Promise.race([once(child.stdout, 'data'), ended])) as [string | number]
  const [, port] = /port: (\d+)/.exec(String(address)) ?? []
  const get = (path: string, signal = AbortSignal.timeout(60_000)): Promise<Response> =>
    fetch(`http://127.0.0.1:${port}${path}`, { signal })
  const cents = (): Promise<string> => server.sql('select cents from accounts order by id')
  try {
    assert.equal((await get('/ready')).status, 200)
    // Done when the session began to listen.
    assert.equal(await server.sql('select done from jobs'), 't')
    await server.sql('insert into jobs values (false); notify jobs')
    await until(async () => (await server.sql('select count(*) from jobs where not done')) === '0')

    assert.equal((await get('/transfer')).status, 200)
    assert.equal(await cents(), '400\n100')

    const running = async (): Promise<boolean> =>
      (await server.sql(
        "select count(*) from pg_stat_activity where query like '%slow_report%' and state = 'active' and usename = 'etl'",
      )) !== '0'
    const gone = new AbortController()
    const reported = get('/report', gone.signal)
    await until(running)
    gone.abort()
    await assert.rejects(reported)
    await until(async () => !(await running()))

    // A request that waits for a lock when the end is asked for.
    await using locker = await lockAccounts(server)
    const last = get('/transfer')
    await until(
      async () => (await server.sql("select count(*) from pg_stat_activity where wait_event_type = 'Lock'")) === '1',
    )
    child.kill('SIGTERM')
    await until(() =>
      get('/ready').then(
        () => false,
        () => true,
      ),
    )
    await locker.release()
    assert.equal((await last).status, 200)
    assert.deepEqual(await ended, [0, null])
    assert.equal(await cents(), '300\n200')
  } finally {
    child.kill('SIGKILL')
  }
})
