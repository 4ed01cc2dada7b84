/** The package as its users get it: packed, installed into an empty project, with only what its strategy needs. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, globSync } from 'node:fs'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { temporaryFolder } from '../support/folder.ts'
import { startPostgres } from '../support/postgres.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const LIMIT_MILLIS = 280_000

/** The environment as a shell has it, without what `npm test` adds for its own scripts. */
const environment = Object.fromEntries(
  Object.entries(process.env).filter(
    ([name]) => !/^(npm_(package|lifecycle|config_local_prefix)|NODE_TEST_CONTEXT|NODE_OPTIONS)/.test(name),
  ),
)

interface Finished {
  readonly stdout: string
  readonly stderr: string
}

function execute(cwd: string, command: string, ...args: string[]): Promise<Finished> {
  return promisify(execFile)(command, args, { cwd, env: environment, timeout: LIMIT_MILLIS, maxBuffer: 64 << 20 })
}

const stack = new AsyncDisposableStack()
let project: string
const { devDependencies, engines } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'))

function install(...packages: string[]): Promise<Finished> {
  return execute(project, 'npm', 'install', '--save-exact', '--prefer-offline', '--no-audit', '--no-fund', ...packages)
}

/** Runs code in the project and gives what it prints as JSON. */
async function evaluate(code: string, kind: 'module' | 'commonjs' = 'module'): Promise<Record<string, unknown>> {
  const { stdout } = await execute(project, process.execPath, `--input-type=${kind}`, '-e', code)
  return JSON.parse(stdout)
}

/** The error that creating an engine ends with, as a program sees it. */
function failureOf(connection: string): Promise<Record<string, unknown>> {
  return evaluate(`
    import { createEngine } from 'poolsmith'
    try {
      await using db = await createEngine(${JSON.stringify(connection)})
      await db.raw('select 1')
      console.log('{}')
    } catch (error) {
      console.log(JSON.stringify(error))
    }`)
}

before(async () => {
  const folder = stack.use(await temporaryFolder())
  await execute(ROOT, 'npm', 'pack', '--pack-destination', folder.path)
  const [tarball] = (await readdir(folder.path)).filter((name) => name.endsWith('.tgz'))
  assert.ok(tarball !== undefined)
  project = join(folder.path, 'project')
  await mkdir(project)
  await writeFile(join(project, 'package.json'), '{ "name": "project", "private": true }')
  await install(join('..', tarball))
})
after(() => stack.disposeAsync())

test('it installs without any driver, SDK or file format', async () => {
  const installed = await readdir(join(project, 'node_modules'))
  for (const name of [
    'pg',
    '@aws-sdk',
    '@azure',
    '@rgrove',
    'apache-arrow',
    'parquet-wasm',
    'koffi',
    'tedious',
    'mssql',
  ]) {
    assert.ok(!installed.includes(name), `${name} was installed`)
  }
})

test('every file that its pages link to is in it', async () => {
  const own = join(project, 'node_modules', 'poolsmith')
  const pages = globSync('{*,docs/**/*,examples/**/*}.md', { cwd: own })
  assert.ok(pages.includes('README.md') && pages.length > 20, String(pages))
  const links = await Promise.all(
    pages.map(async (page) => {
      const text = await readFile(join(own, page), 'utf8')
      const targets = [...text.matchAll(/\]\((?!https?:|mailto:|#)([^)#\s]+)/g)].map(([, target = '']) => target)
      return targets.map((target) => join(dirname(page), target))
    }),
  )
  assert.deepEqual(
    links.flat().filter((target) => !existsSync(join(own, target))),
    [],
  )
})

test('import and require give the same package, and load no optional package', async () => {
  const names = await evaluate(`
    import * as poolsmith from 'poolsmith'
    console.log(JSON.stringify(Object.keys(poolsmith)))`)
  const required = await evaluate(`console.log(JSON.stringify(Object.keys(require('poolsmith'))))`, 'commonjs')
  assert.ok(Array.isArray(names) && names.includes('createEngine') && names.includes('parseConnection'))
  assert.deepEqual(required, names)
})

test('without pg, a PostgreSQL connection says how to install it', async () => {
  const error = await failureOf('postgres://etl:secret@127.0.0.1:1/postgres')
  assert.equal(error['code'], 'PACKAGE_MISSING')
  assert.equal(error['phase'], 'config')
  assert.equal(error['hint'], 'npm install pg')
})

test('without tedious or mssql, SQL Server says how to install them', async () => {
  const engine = await failureOf('mssql://etl:secret@127.0.0.1:1/master')
  assert.deepEqual([engine['code'], engine['hint']], ['PACKAGE_MISSING', 'npm install tedious'])
  const pool = await evaluate(`
    import { createMssqlPool } from 'poolsmith'
    const error = await createMssqlPool('mssql://etl:secret@127.0.0.1:1/master').catch((error) => error)
    console.log(JSON.stringify({ code: error.code, hint: error.hint }))`)
  assert.deepEqual(pool, { code: 'PACKAGE_MISSING', hint: 'npm install mssql' })
})

test('with pg alone, a password login works from code and from the command', async () => {
  await install(`pg@${devDependencies.pg}`)
  await using server = await startPostgres()
  await server.sql("create role etl login password 'correct horse'")
  const connection = `postgres://etl:correct%20horse@127.0.0.1:${server.port}/postgres`

  const row = await evaluate(`
    import { createEngine } from 'poolsmith'
    await using db = await createEngine('${connection}')
    console.log(JSON.stringify(await db.select(db.raw('system_user as proven')).first()))`)
  assert.deepEqual(row, { proven: 'scram-sha-256:etl' })

  const bin = join('node_modules', '.bin', 'poolsmith')
  const { stdout } = await execute(project, bin, 'check', connection, '--json')
  assert.equal(JSON.parse(stdout).authentication, 'scram-sha-256')
  const { version } = JSON.parse(await readFile(join(project, 'node_modules', 'poolsmith', 'package.json'), 'utf8'))
  assert.equal((await execute(project, bin, '--version')).stdout.trim(), version)
})

test('its types compile in a strict TypeScript project that has pg and no other optional package', async () => {
  await writeFile(
    join(project, 'use.ts'),
    `import type { Knex } from 'knex'
import { createEngine, type Engine, parseConnection, PoolsmithError } from 'poolsmith'
import { readTable } from 'poolsmith/extract'
import type { TicketInfo } from 'poolsmith/kerberos'
export { readTable, type TicketInfo }
export const takesKnex = (db: Knex): unknown => db('flights').select()
export async function use(): Promise<number> {
  const db: Engine = await createEngine(parseConnection('postgres://etl@db/app'), { pool_size: 3 })
  takesKnex(db)
  const typed = await createEngine<{ query(text: string): Promise<{ rows: number[] }> }>('app')
  const anyOther: Engine = typed
  takesKnex(anyOther)
  const { rows } = await typed.pool.use((client) => client.query('select 1'))
  rows satisfies number[]
  await readTable(typed, { table: 't' })
  return db.pool.stats().total
}
// An import that does not resolve would be \`any\`, and everything would fit.
export const typed: 0 extends 1 & Engine ? never : true = true
export const isOurs = (error: unknown): error is PoolsmithError => error instanceof PoolsmithError
`,
  )
  await install(`@types/node@${devDependencies['@types/node']}`)
  const strict = ['--strict', '--exactOptionalPropertyTypes']
  const options = ['--noEmit', ...strict, '--module', 'nodenext', '--target', 'es2023', '--types', 'node']
  await execute(project, join(ROOT, 'node_modules', '.bin', 'tsc'), ...options, 'use.ts')
})

test('it runs on the oldest Node that it names: import, require, a login, an extract, and the end of the process', async () => {
  const oldest = String(engines.node).replace('>=', '')
  const home = join(project, '..', 'oldest-node')
  await mkdir(home)
  await writeFile(join(home, 'package.json'), '{ "private": true, "allowScripts": { "node": true } }')
  await execute(home, 'npm', 'install', '--prefer-offline', '--no-audit', '--no-fund', `node@${oldest}`)
  const node = join(home, 'node_modules', 'node', 'bin', 'node')
  assert.equal((await execute(project, node, '--version')).stdout.trim(), `v${oldest}`)

  await using server = await startPostgres()
  const connection = `postgres://postgres:${server.superuserPassword}@127.0.0.1:${server.port}/postgres`
  const code = `
    import { globSync } from 'node:fs'
    import { createRequire } from 'node:module'
    import { createEngine } from 'poolsmith'
    import { extractTable, planExtract } from 'poolsmith/extract'
    // Each by itself: a name that this Node's modules lack is refused when a file is loaded, which may be late.
    const modules = globSync('node_modules/poolsmith/dist/**/*.js').filter((file) => !file.endsWith('cli/main.js'))
    for (const file of modules) await import(process.cwd() + '/' + file)
    const required = createRequire(process.cwd() + '/x.js')('poolsmith')
    const db = await createEngine('${connection}')
    const [{ one }] = await db.select(db.raw('1 as one'))
    const { rows } = await extractTable(db, { schema: 'pg_catalog', table: 'pg_am' }, { to: 'out', format: 'parquet' })
    const plan = await planExtract(db, { schema: 'pg_catalog', table: 'pg_am' }, { holdSnapshot: true })
    await plan[Symbol.asyncDispose]()
    await db.destroy()
    console.log(JSON.stringify({ modules: modules.length > 100, held: plan.snapshot !== undefined, one, same: required.createEngine === createEngine, rows: rows > 0 }))`
  // Kysely's dialects extend its classes, so their files import it.
  await install(...['apache-arrow', 'kysely'].map((name) => `${name}@${devDependencies[name]}`))
  const { stdout } = await execute(project, node, '--input-type=module', '-e', code)
  assert.deepEqual(JSON.parse(stdout), { modules: true, held: true, one: 1, same: true, rows: true })
})

test('without its SDK, a cloud strategy says how to install it', async () => {
  const host = '127.0.0.1:1/postgres'
  const iam = await failureOf(`postgres://etl@${host}?auth_method=iam&region=eu-west-1`)
  assert.equal(iam['code'], 'PACKAGE_MISSING')
  assert.equal(iam['hint'], 'npm install @aws-sdk/rds-signer')
  const azure = await failureOf(`postgres://etl@${host}?auth_method=azure_ad`)
  assert.equal(azure['code'], 'PACKAGE_MISSING')
  assert.equal(azure['hint'], 'npm install @azure/identity')
  const integrated = await failureOf(`postgres://etl@${host}?auth_method=azure_ad&azure_credential=integrated`)
  assert.equal(integrated['code'], 'PACKAGE_MISSING')
  assert.equal(integrated['hint'], 'npm install @rgrove/parse-xml')
})
