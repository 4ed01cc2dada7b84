/**
 * knex's own integration tests of PostgreSQL and SQL Server, run over bare knex and over our engine, and compared test by
 * test. POOLSMITH_KNEX_SOURCE is a clone of knex; POOLSMITH_BABELFISH is an installation of Babelfish, which takes the
 * place of SQL Server.
 */

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { createEngine } from '../../../src/index.ts'
import { temporaryFolder } from '../../support/folder.ts'
import { startPostgres } from '../../support/postgres.ts'
import { INSTALLATION, startBabelfish } from '../babelfish/babelfish.ts'
import { DIFFERENCES } from './differences.ts'
import { type Outcome, runSuite, type Settings, type Side, type Suite, unpackTests } from './suite.ts'

const DATABASE = 'knex_test'
const stack = new AsyncDisposableStack()
let folder: string

before(async () => {
  folder = stack.use(await temporaryFolder()).path
  await unpackTests(folder)
})
after(() => stack.disposeAsync())

/** A server with an empty database for each run of a suite. */
interface Server extends AsyncDisposable {
  readonly settings: Settings
  empty(): Promise<void>
}

async function compare(suite: Suite, server: Server): Promise<void> {
  const run = async (side: Side): Promise<Outcome> => {
    await server.empty()
    const outcome = await runSuite(folder, suite, side, server.settings)
    const { passes, failures, pending } = outcome.stats
    console.log(`${suite}, ${side}: ${passes} passed, ${failures} failed, ${pending} skipped`)
    return outcome
  }
  const bare = await run('bare')
  assert.ok(bare.passed.size > 300, `bare knex: ${[...bare.failed].join('\n')}`)
  let ours = await run('ours')
  const named = DIFFERENCES.filter(({ suites }) => suites.includes(suite))
  const lost = (): readonly string[] =>
    [...bare.passed].filter((title) => !ours.passed.has(title) && !named.some(({ tests }) => tests.test(title)))
  // Some tests of knex measure time, which a busy machine takes from them.
  const first = new Set(lost())
  if (first.size > 0) ours = await run('ours')
  const twice = lost().filter((title) => first.has(title))
  assert.deepEqual(
    twice.map((title) => `${title}: ${ours.failed.get(title)}`),
    [],
  )
  // A test of a named difference that failed over bare knex too shows nothing.
  const wrong = named.filter(({ tests }) => {
    const passed = [...bare.passed].filter((title) => tests.test(title))
    return passed.length > 0 && passed.every((title) => ours.passed.has(title))
  })
  assert.deepEqual(wrong, [], 'no difference any more')
}

test("knex's tests of PostgreSQL pass as over bare knex, but for the named differences", async () => {
  await using postgres = await startPostgres()
  await compare('postgres', {
    settings: {
      adapter: 'postgresql',
      host: postgres.host,
      port: postgres.port,
      user: postgres.superuser,
      password: postgres.superuserPassword,
      database: DATABASE,
    },
    async empty() {
      await postgres.sql(`drop database if exists ${DATABASE} with (force)`)
      await postgres.sql(`create database ${DATABASE}`)
    },
    [Symbol.asyncDispose]: () => postgres[Symbol.asyncDispose](),
  })
})

const skip = INSTALLATION === undefined && 'set POOLSMITH_BABELFISH to the folder of an installation of Babelfish'

test("knex's tests of SQL Server pass as over bare knex, but for the named differences", { skip }, async () => {
  await using babelfish = await startBabelfish()
  const { host, port, login, password } = babelfish
  await compare('mssql', {
    settings: {
      server: host,
      port,
      user: login,
      password,
      database: DATABASE,
      options: { encrypt: true, trustServerCertificate: true },
    },
    async empty() {
      const extra = { trust_server_certificate: true }
      await using db = await createEngine({ type: 'mssql', host, port, login, password, database: 'master', extra })
      for (const name of [DATABASE, `${DATABASE}_CS_AS_SC`]) {
        await db.raw(`if db_id('${name}') is not null drop database ${name}`)
      }
      await db.raw(`create database ${DATABASE}`)
    },
    [Symbol.asyncDispose]: () => babelfish[Symbol.asyncDispose](),
  })
})
