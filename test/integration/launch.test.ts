/** The messages of `npm test` on a machine that is not ready for it. */

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmod, copyFile, mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { temporaryFolder } from '../support/folder.ts'

const SCRIPTS = join(import.meta.dirname, '..', '..', 'scripts')
const TESTS_ONLY = 'test/support/postgres-13'
const LOCK = {
  packages: { '': {}, 'node_modules/a': { version: '1.0.0' }, 'node_modules/b': { version: '1.0.0', optional: true } },
}

interface Setup {
  /** The content of node_modules/.package-lock.json, npm's record of the installed packages. */
  readonly installed?: object
  /** The same for what only the tests need. Default: nothing is needed. */
  readonly installedForTests?: object | null
  /** The work of npm when it is called: shell commands. */
  readonly npm?: string
  /** A pinned Node that answers --version; it runs the task with the Node of this test. Default true. */
  readonly pinned?: boolean
  /** The version that the Node of the launcher claims to have. */
  readonly claim?: string
  readonly args?: readonly string[]
}

/** Runs the launcher in a repository of its own, with an npm that is a shell script. */
async function launch(setup: Setup): Promise<{ code: number | null; stdout: string; stderr: string; npm: string }> {
  await using folder = await temporaryFolder()
  const at = (...parts: string[]): string => join(folder.path, ...parts)
  const write = async (path: string, content: string): Promise<void> => {
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, content)
  }
  await write(at('package-lock.json'), JSON.stringify(LOCK))
  await write(at(TESTS_ONLY, 'package-lock.json'), JSON.stringify({ packages: {} }))
  const { installedForTests = { packages: {} } } = setup
  if (installedForTests !== null)
    await write(at(TESTS_ONLY, 'node_modules', '.package-lock.json'), JSON.stringify(installedForTests))
  for (const task of ['test.ts', 'demo.ts']) {
    await write(at('scripts', task), `console.log('task ' + process.argv.slice(2)); process.exitCode = 7`)
  }
  await copyFile(join(SCRIPTS, 'launch.cjs'), at('scripts', 'launch.cjs'))
  if (setup.installed !== undefined)
    await write(at('node_modules', '.package-lock.json'), JSON.stringify(setup.installed))
  if (setup.pinned !== false) {
    await mkdir(at('node_modules', 'node', 'bin'), { recursive: true })
    await symlink(process.execPath, at('node_modules', 'node', 'bin', 'node'))
  }
  await write(at('bin', 'npm'), `#!/bin/sh\necho "$@" >> ${at('npm.log')}\n${setup.npm ?? 'echo 11.0.0'}\n`)
  await chmod(at('bin', 'npm'), 0o755)
  await write(at('npm.log'), '')
  const claim = setup.claim === undefined ? [] : ['--require', at('claim.cjs')]
  await write(at('claim.cjs'), `Object.defineProperty(process.versions, 'node', { value: '${setup.claim}' })`)
  const args = [...claim, at('scripts', 'launch.cjs'), ...(setup.args ?? ['test'])]
  const env = { PATH: `${at('bin')}:/usr/bin:/bin` }
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: folder.path, env, encoding: 'utf8' })
  return { code: status, stdout, stderr, npm: await readFile(at('npm.log'), 'utf8') }
}

const COMPLETE = { packages: { 'node_modules/a': { version: '1.0.0' } } }

test('with everything installed it runs the task at once and passes on its arguments and exit code', async () => {
  const { code, stdout, stderr, npm } = await launch({ installed: COMPLETE, args: ['test', 'x', 'y'] })
  assert.deepEqual({ code, stdout, stderr, npm }, { code: 7, stdout: 'task x,y\n', stderr: '', npm: '' })
})

test('the unit tests have a task of their own', async () => {
  const { stdout } = await launch({ installed: COMPLETE, args: ['test:unit', 'x'] })
  assert.equal(stdout, 'task --unit,x\n')
})

const INCOMPLETE: Record<string, object | undefined> = {
  'nothing is installed': undefined,
  'a package is missing': { packages: {} },
  'a package has another version': { packages: { 'node_modules/a': { version: '1.0.1' } } },
}
for (const [what, installed] of Object.entries(INCOMPLETE)) {
  test(`it installs from the lockfile when ${what}`, async () => {
    const setup: Setup = installed === undefined ? {} : { installed }
    const { code, stderr, npm } = await launch(setup)
    assert.equal(code, 7)
    assert.equal(stderr, 'Installing the locked dependencies (npm ci) ...\n')
    assert.match(npm, /^--version\nci --include=dev .*\n$/)
  })
}

test('dependencies with their own lockfile are installed on demand only', async () => {
  const setup: Setup = { installed: COMPLETE, installedForTests: null }
  const { code, stderr, npm } = await launch({ ...setup, args: ['install', TESTS_ONLY] })
  assert.equal(code, 0)
  assert.equal(stderr, `Installing the locked dependencies (npm ci in ${TESTS_ONLY}) ...\n`)
  assert.match(npm, /^--version\nci --include=dev .*\n$/)
  const again = await launch({ installed: COMPLETE, args: ['install', TESTS_ONLY] })
  assert.deepEqual({ code: again.code, npm: again.npm }, { code: 0, npm: '' })
  const other = await launch(setup)
  assert.deepEqual({ code: other.code, npm: other.npm }, { code: 7, npm: '' })
})

/** Each ends with one sentence on its last line and runs no task. */
const OBSTACLES: Record<string, { readonly setup: Setup; readonly says: RegExp }> = {
  'an npm that fails': {
    setup: { npm: 'case $1 in --version) echo 11.0.0;; *) echo "E-REASON"; exit 1;; esac' },
    says: /E-REASON[\s\S]*\npoolsmith: npm ci failed; mend what npm says above and try again\.\n$/,
  },
  'an npm from before the lockfile’s format': {
    setup: { npm: 'echo 6.14.4' },
    says: /^poolsmith: npm 6\.14\.4 is too old [^\n]*; install Node\.js 22 or newer and try again\.\n$/,
  },
  'an npm that does not run': { setup: { npm: 'exit 127' }, says: /^poolsmith: npm was not found; [^\n]*\.\n$/ },
  'no pinned Node, and one of its own that is too old': {
    setup: { installed: COMPLETE, pinned: false, claim: '20.1.0' },
    says: /^poolsmith: Node 20\.1\.0 is too old [^\n]*; run `npm rebuild node`, or install Node\.js 24 or newer\.\n$/,
  },
  'an unknown task': {
    setup: { installed: COMPLETE, args: ['tset'] },
    says: /^poolsmith: unknown task tset; the tasks are test, [^\n]*\.\n$/,
  },
}
for (const [what, { setup, says }] of Object.entries(OBSTACLES)) {
  test(`${what} ends with one sentence that states the problem and the solution`, async () => {
    const { code, stdout, stderr } = await launch(setup)
    assert.equal(code, 1)
    assert.equal(stdout, '')
    assert.match(stderr, says)
  })
}

test('without the pinned Node, the present Node runs the task if it is new enough', async () => {
  const { code, stderr } = await launch({ installed: COMPLETE, pinned: false })
  assert.deepEqual({ code, stderr }, { code: 7, stderr: '' })
})
