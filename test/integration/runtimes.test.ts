/** One small service in the places where programs run: test runners, loaders, workers, bundles, hardened processes. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { copyFile, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { projectWithPackage } from '../support/built-package.ts'
import { temporaryFolder } from '../support/folder.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { asUser, OTHER_USERS, unprivileged } from '../support/unprivileged.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const RUNTIMES = join(ROOT, 'test', 'support', 'runtimes')
const TOOLS = join(RUNTIMES, 'node_modules')

const BUN = join(TOOLS, '@oven', 'bun-linux-x64', 'bin', 'bun')

/** The output of test/support/runtimes/service.mjs. */
const SERVED = {
  two: 2,
  since: 0,
  three: 3,
  rows: 1,
  unknown: '42P01 query',
  refused: 'CONNECT_REFUSED connect',
}

const stack = new AsyncDisposableStack()
let server: PostgresServer
let project: string
/** A home folder without `.postgresql`. */
let home: string

before(async () => {
  server = stack.use(await startPostgres())
  project = stack.use(await projectWithPackage(['pg', 'apache-arrow'])).path
  home = join(project, 'home')
  await mkdir(home)
  await copyFile(join(RUNTIMES, 'service.mjs'), join(project, 'service.mjs'))
  await writeFile(
    join(project, 'main.mjs'),
    `import { serve } from './service.mjs'
    console.log(JSON.stringify(await serve(JSON.parse(process.env.CONNECTION), process.env.FOLDER)))`,
  )
  // In the words that Jest and Vitest share.
  await writeFile(
    join(project, 'service.test.mjs'),
    `import { serve } from './service.mjs'
    test('serves', async () => {
      expect(await serve(JSON.parse(process.env.CONNECTION), process.env.FOLDER)).toEqual(${JSON.stringify(SERVED)})
    }, 60_000)`,
  )
  await writeBuildPrograms()
})
after(() => stack.disposeAsync())

function connection(): object {
  const { host, port, superuser: login, superuserPassword: password } = server
  return { type: 'postgres', host, port, login, password, database: 'postgres' }
}

/** @param command arguments of this Node, or a whole command */
async function run(
  command: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<{ stdout: string; stderr: string }> {
  const isWhole = command.includes(process.execPath) || command[0] === BUN
  const [program = '', ...args] = isWhole ? command : [process.execPath, ...command]
  return promisify(execFile)(program, args, {
    cwd: project,
    timeout: 240_000,
    env: {
      PATH: process.env.PATH,
      HOME: home,
      CONNECTION: JSON.stringify(connection()),
      FOLDER: join(project, 'bronze'),
      ...env,
    },
  })
}

async function served(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<void> {
  const { stdout } = await run(args, env)
  assert.deepEqual(JSON.parse(stdout), SERVED)
}

test('under Jest with its flag for ES modules, where errors of Node are of another realm', async () => {
  const settings = {
    testMatch: ['**/service.test.mjs'],
    transform: {},
    watchman: false,
    cacheDirectory: join(project, 'jest'),
  }
  const jest = join(TOOLS, 'jest', 'bin', 'jest.js')
  const args = ['--experimental-vm-modules', jest, '--ci', '--runInBand', '--config', JSON.stringify(settings)]
  assert.match((await run(args)).stderr, /1 passed, 1 total/)
})

for (const pool of ['forks', 'threads', 'vmThreads']) {
  test(`under Vitest with --pool=${pool}`, async () => {
    const vitest = join(TOOLS, 'vitest', 'vitest.mjs')
    const { stdout } = await run([vitest, 'run', '--globals', `--pool=${pool}`, '--root', project], { CI: 'true' })
    assert.match(stdout, /1 passed/)
  })
}

test('under tsx', async () => {
  await writeFile(join(project, 'main.ts'), `import './main.mjs'\nexport const typed: number = 1\n`)
  await served([join(TOOLS, 'tsx', 'dist', 'cli.mjs'), 'main.ts'])
})

test('under Bun', async () => {
  // There is a build of it for Linux on x64 in test/support/runtimes.
  if (process.platform !== 'linux' || process.arch !== 'x64') return
  await served([BUN, 'main.mjs'])
})

/** Writes the programs of docs/bundling.md, under the names in their first lines. */
async function writeBuildPrograms(): Promise<void> {
  await symlink(join(TOOLS, 'esbuild'), join(project, 'node_modules', 'esbuild'))
  const page = await readFile(join(ROOT, 'docs', 'bundling.md'), 'utf8')
  for (const [, name = '', program = ''] of page.matchAll(/^```js\n\/\/ (\S+)\n(.*?)^```$/gms)) {
    await writeFile(join(project, name), program)
  }
}

test('in the bundles of docs/bundling.md', async () => {
  await run(['build.mjs'])
  await served([join('out', 'main.mjs')])
  await rm(join(project, 'out'), { recursive: true })
  await run([join(TOOLS, 'rollup', 'dist', 'bin', 'rollup'), '--config', 'rollup.config.mjs', '--failAfterWarnings'])
  await served([join('out', 'main.mjs')])
  await run(['--input-type=module', '-e', WEBPACK])
  await served([join('dist', 'main.mjs')])
})

/** webpack's command is a package of its own. */
const WEBPACK = `
  import { promisify } from 'node:util'
  import webpack from ${JSON.stringify(join(TOOLS, 'webpack', 'lib', 'index.js'))}
  const { default: config } = await import('./webpack.config.mjs')
  const stats = await promisify(webpack)(config)
  if (stats.hasErrors() || stats.hasWarnings()) throw new Error(stats.toString())`

test('as one file in a folder without node_modules', async () => {
  await run(['build-one.mjs'])
  await using alone = await temporaryFolder()
  const bundle = join(alone.path, 'main.mjs')
  await copyFile(join(project, 'one', 'main.mjs'), bundle)
  await served([bundle])
})

test('in a worker thread', async () => {
  const code = `new (require('node:worker_threads').Worker)('./main.mjs')`
  await served(['-e', code])
})

test('in a process that may not make code from strings', () =>
  served(['--disallow-code-generation-from-strings', 'main.mjs']))

/** A program whose files are readable: the project, our dependencies and its own user's. */
const MAY_READ = [`--allow-fs-read=${join(ROOT, 'node_modules')}`, `--allow-fs-read=${join(ROOT, 'package.json')}`]

test("under Node's permission model, without access to the home folder", async () => {
  const rights = [...MAY_READ, `--allow-fs-read=${project}`, `--allow-fs-write=${project}`]
  await served(['--permission', ...rights, 'main.mjs'], { HOME: '/nonexistent' })
})

test('on a disk that is read-only', async () => {
  await served(['--permission', '--allow-fs-read=*', 'main.mjs'], { FOLDER: undefined })
})

test('with a home folder that its user may not enter', async () => {
  const closed = join(project, 'closed')
  await mkdir(closed, { mode: 0 })
  await served(unprivileged([process.execPath, 'main.mjs']), { HOME: closed })
})

test('as a user that the system does not know, without HOME', async () => {
  // Only root can become another user.
  if (process.getuid?.() !== 0) return
  await served(asUser(OTHER_USERS.alice, [process.execPath, 'main.mjs']), { HOME: undefined, FOLDER: undefined })
})
