/** Data layers over our pools: the examples, under a token that is renewed every two seconds and a server that restarts. */

import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { verifyToken } from '../support/layers/token.ts'
import { startTokenDatabase, type TokenDatabase } from '../support/token-database.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const LAYERS = join(ROOT, 'examples', 'layers')
const TOKEN_KEY = 'the key of the tokens'
const SECONDS = 10

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

/**
 * The errors of a statement whose session ended with the server, and of a new session while it is down. P2028 is
 * Prisma's own limit for the wait for a session.
 */
const LOST =
  /57P0[123]|08006|08003|CONNECTION_LOST|terminat|ECONNRESET|EPIPE|closed the connection|not queryable|CONNECT_REFUSED|CONNECTION_CLOSED|SERVER_NOT_READY|P2028/i

interface Outcome {
  readonly rounds: number
  /** Whether the last round succeeded. */
  readonly endedWell: boolean
  readonly failures: readonly string[]
}

/** Runs one example for its seconds. `begun` resolves when its rounds begin. */
function run(name: string): { readonly begun: Promise<unknown>; readonly outcome: Promise<Outcome> } {
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
  }).toString()
  const preload = ['self-import.ts', 'layers/preload.ts'].map((file) => `--import=${join(ROOT, 'test/support', file)}`)
  const child = spawn(process.execPath, [...preload, join(LAYERS, name)], {
    cwd: LAYERS,
    env: { PATH: process.env.PATH, DATABASE: uri.href, SECONDS: String(SECONDS) },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 120_000,
  })
  let output = ''
  let complaints = ''
  const begun = Promise.withResolvers<void>()
  child.stdout.on('data', (chunk) => {
    output += chunk
    if (output.includes('rounds begin')) begun.resolve()
  })
  child.stderr.on('data', (chunk) => {
    complaints += chunk
  })
  const outcome = once(child, 'close').then(([code]) => {
    begun.resolve()
    const line = output.split('\n').find((text) => text.startsWith('{"rounds"'))
    assert.equal(code, 0, `${name} ended with ${code}:\n${output}${complaints}`)
    assert.ok(line !== undefined, `${name} said nothing:\n${output}${complaints}`)
    return JSON.parse(line) as Outcome
  })
  outcome.catch(() => undefined)
  return { begun: begun.promise, outcome }
}

/** Runs all examples beside each other, and does something once all are in their rounds. */
async function runAll(
  names: readonly string[],
  meanwhile: () => Promise<void> = async () => undefined,
): Promise<Map<string, Promise<Outcome>>> {
  const running = new Map(names.map((name) => [name, run(name)]))
  await Promise.all([...running.values()].map(({ begun }) => begun))
  await meanwhile()
  return new Map([...running].map(([name, { outcome }]) => [name, outcome]))
}

const NO_EXAMPLES = ['rounds.ts']
/** graphile-worker 0.18 rejects outside of its promise, and so ends the process, when a session ends under it. */
const STOPS_WITH_ITS_SESSION = ['graphile-worker.ts']
const examples = (await readdir(LAYERS)).filter((name) => name.endsWith('.ts') && !NO_EXAMPLES.includes(name)).sort()

test('the examples compile with the types of the newest layers', async () => {
  const tsc = join(ROOT, 'node_modules', '.bin', 'tsc')
  await promisify(execFile)(tsc, ['-p', LAYERS], { cwd: ROOT })
})

test('while tokens are renewed every two seconds', async (t) => {
  const outcomes = await runAll(examples)
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
  const outcomes = await runAll(
    examples.filter((name) => !STOPS_WITH_ITS_SESSION.includes(name)),
    () => database.server.restart('fast'),
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
