/** knex's own integration tests, of a clone of knex, in a process of their own. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { fetched } from '../../support/interop.ts'
import { runNode } from '../../support/run-node.ts'

const MODULES = join(import.meta.dirname, '..', '..', '..', 'node_modules')
/** One test may take so long; knex's own limit is half of it, on a machine of its own. */
const TEST_MILLIS = 20_000
/** With these sources, the tests that belong to the version of knex in package.json. */
const COMMIT = 'e25d54bcb707714a17f5a5744eba5c4246bb4d1d'
const VERSION = '3.3.0'

export type Side = 'bare' | 'ours'
export type Suite = 'postgres' | 'mssql'

/** The `connection` that the tests of the suite give to knex. */
export type Settings = Readonly<Record<string, string | number | object>>

/** Puts the tests into a folder, beside the knex and the drivers of this project. */
export async function unpackTests(folder: string): Promise<void> {
  const { version } = createRequire(import.meta.url)('knex/package.json') as { readonly version: string }
  assert.equal(version, VERSION, 'the tests are of another version of knex: pin the commit of that one')
  const source = process.env['POOLSMITH_KNEX_SOURCE'] ?? ''
  const archive = join(folder, 'tests.tar')
  const run = promisify(execFile)
  await run('git', ['-c', `safe.directory=*`, '-C', source, 'archive', '-o', archive, COMMIT, 'test'])
  await run('tar', ['-xf', archive, '-C', folder])
  await writeFile(join(folder, 'package.json'), '{}')
  await symlink(join(fetched('knex', 'npm'), 'node_modules'), join(folder, 'node_modules'))
  await symlink(join(MODULES, 'knex', 'lib'), join(folder, 'lib'))
  await symlink(join(MODULES, 'knex', 'knex.js'), join(folder, 'knex.js'))
}

interface Report {
  readonly stats: { readonly passes: number; readonly pending: number; readonly failures: number }
  readonly passes: readonly { readonly fullTitle: string }[]
  readonly failures: readonly { readonly fullTitle: string; readonly err: { readonly message?: string } }[]
}

export interface Outcome {
  readonly stats: Report['stats']
  /** The full titles of the tests that passed. A second test of the same title has ` (2)`, and so on. */
  readonly passed: ReadonlySet<string>
  /** The messages of those that failed, by their titles. */
  readonly failed: ReadonlyMap<string, string>
}

/** Runs one suite over bare knex or over our engine. Its database is empty. */
export async function runSuite(folder: string, suite: Suite, side: Side, settings: Settings): Promise<Outcome> {
  const place = join(folder, `${suite}-${side}`)
  await mkdir(place, { recursive: true })
  const config = join(place, 'config.js')
  const report = join(place, 'report.json')
  await writeFile(config, configModule(suite, settings))
  const mocha = [
    join('node_modules', 'mocha', 'bin', 'mocha.js'),
    ...['--exit', '--timeout', `${TEST_MILLIS}`, '--config', join('test', 'mocha-integration-config-test.js')],
    ...['--ignore', 'test/**/*sqlite*.spec.js'],
    ...['--reporter', 'json', '--reporter-option', `output=${report}`],
  ]
  const preloads = [
    ...(suite === 'mssql' ? [new URL('babelfish-names.ts', import.meta.url).href] : []),
    ...(side === 'ours' ? [new URL('our-knex.ts', import.meta.url).href] : []),
  ]
  const { said } = await runNode([...preloads.flatMap((file) => ['--import', file]), ...mocha], {
    cwd: folder,
    env: { DB: suite, KNEX_TEST: config, NODE_PATH: MODULES },
  })
  const text = await readFile(report, 'utf8').catch(() => assert.fail(`${suite}, ${side}: no report\n${said}`))
  const { stats, passes, failures } = JSON.parse(text) as Report
  const failed = failures.map(({ fullTitle, err }) => [fullTitle, err.message ?? ''] as const)
  return { stats, passed: new Set(numbered(passes.map(({ fullTitle }) => fullTitle))), failed: new Map(failed) }
}

/** `mapBinding` is what the tests of SQL Server expect in their settings. */
function configModule(suite: Suite, settings: Settings): string {
  const text = JSON.stringify(settings)
  if (suite === 'postgres') return `module.exports = { postgres: ${text} }\n`
  const mapBinding = '(value) => value && value.type ? { value: value.value, type: value.type } : undefined'
  return [
    `const settings = ${text}`,
    `settings.options.mapBinding = ${mapBinding}`,
    'module.exports = { mssql: settings }',
    '',
  ].join('\n')
}

function numbered(titles: readonly string[]): readonly string[] {
  const seen = new Map<string, number>()
  return titles.map((title) => {
    const count = (seen.get(title) ?? 0) + 1
    seen.set(title, count)
    return count === 1 ? title : `${title} (${count})`
  })
}
