/** Data layers over our pools: the examples, under a token that is renewed every two seconds and a server that restarts. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { LOST, type RunningExample, runAll, runExample } from '../support/layers/run-example.ts'
import { verifyToken } from '../support/layers/token.ts'
import { startTokenDatabase, type TokenDatabase } from '../support/token-database.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const LAYERS = join(ROOT, 'examples', 'layers')
const TOKEN_KEY = 'the key of the tokens'

const stack = new AsyncDisposableStack()
let database: TokenDatabase

before(async () => {
  // Prisma's generator alone: it would download an engine that the client does not use.
  const env = { ...process.env, PRISMA_SCHEMA_ENGINE_BINARY: '/bin/true', CHECKPOINT_DISABLE: '1' }
  const prisma = join(LAYERS, 'node_modules', 'prisma', 'build', 'index.js')
  await promisify(execFile)(process.execPath, [prisma, 'generate', '--schema', 'schema.prisma'], { cwd: LAYERS, env })
  database = stack.use(
    await startTokenDatabase('db.example.test', ['svc'], (user, token) => verifyToken(user, TOKEN_KEY, token)),
  )
  await database.server.sql('grant all on schema public to svc; grant create on database postgres to svc')
})
after(() => stack.disposeAsync())

const run = (name: string): RunningExample => {
  const { hostaddr, sslrootcert } = database.extra
  const uri = new URL(`postgres://svc@${database.host}:${database.server.port}/postgres`)
  uri.search = new URLSearchParams({
    auth_method: 'two_seconds',
    token_key: TOKEN_KEY,
    hostaddr,
    sslrootcert,
    sslmode: 'verify-full',
    retire_on: 'rotation',
    pool_size: '3',
    pool_timeout: '60',
  }).toString()
  return runExample(name, uri.href)
}

/** The part that the examples share, and the example of the other database. */
const NO_EXAMPLES = ['rounds.ts', 'typeorm-sqlserver.ts']
/** graphile-worker 0.18 rejects outside of its promise, and so ends the process, when a session ends under it. */
const STOPS_WITH_ITS_SESSION = ['graphile-worker.ts']
const examples = (await readdir(LAYERS)).filter((name) => name.endsWith('.ts') && !NO_EXAMPLES.includes(name)).sort()

test('the examples compile with the types of the newest layers', async () => {
  const tsc = join(ROOT, 'node_modules', '.bin', 'tsc')
  await promisify(execFile)(tsc, ['-p', LAYERS], { cwd: ROOT })
})

test('while tokens are renewed every two seconds', async (t) => {
  const outcomes = await runAll(examples.map(run))
  for (const [name, outcome] of outcomes) {
    await t.test(`${name}: no statement fails`, async () => {
      const { rounds, failures } = await outcome
      assert.deepEqual(failures, [])
      assert.ok(rounds > 2, `${rounds} rounds`)
    })
  }
  assert.deepEqual([...new Set(database.decisions.map(({ outcome }) => outcome))], ['accepted'])
})

test('while the server restarts', async (t) => {
  const outcomes = await runAll(examples.filter((name) => !STOPS_WITH_ITS_SESSION.includes(name)).map(run), () =>
    database.server.restart('fast'),
  )
  for (const [name, outcome] of outcomes) {
    await t.test(`${name}: only what was sent to a session that ended fails, and the rounds go on`, async () => {
      const { rounds, endedWell, failures } = await outcome
      for (const failure of failures) assert.match(failure, LOST)
      assert.ok(rounds - failures.length > 2, `${rounds} rounds`)
      assert.ok(endedWell, failures.at(-1))
    })
  }
})
