/**
 * `npm test`: installs what is missing, then runs `npm run check` and every unit and integration test.
 * `npm test -- FILE...` runs these test files alone, and asks only for the packages that they need.
 * `npm run test:unit` runs the unit tests alone: they need no package of the system and no server.
 *
 * The tests get an environment and a umask of their own: the shell's settings for libpq, Kerberos, a cloud's SDK or curl
 * do not reach them.
 */

import { spawnSync } from 'node:child_process'
import { globSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { closureOf } from './source-imports.ts'
import { ensureSystemPackages, lockfilesFor, systemPackages, systemPackagesFor } from './system-packages.ts'

/**
 * Where and for whom the tests run, and the servers of the live suite; npm's registry and proxy settings, since one test
 * installs packages.
 */
const KEPT =
  /^(PATH|HOME|USER|LOGNAME|TMPDIR|TZ|LANG|LC_[A-Z]+|TERM|CI|npm_\w+|NODE_EXTRA_CA_CERTS|POOLSMITH_TEST_\w+)$/

const ALL = ['test/unit/**/*.test.ts', 'test/integration/**/*.test.ts']

function testEnvironment(): NodeJS.ProcessEnv {
  const outer = process.env
  return {
    ...Object.fromEntries(Object.entries(outer).filter(([name]) => KEPT.test(name))),
    // npm's names for settings that curl would follow as well.
    npm_config_https_proxy: outer.npm_config_https_proxy || outer.HTTPS_PROXY || outer.https_proxy,
    npm_config_proxy: outer.npm_config_proxy || outer.HTTP_PROXY || outer.http_proxy,
    npm_config_noproxy: outer.npm_config_noproxy || outer.NO_PROXY || outer.no_proxy,
  }
}

function run(args: string[], env = process.env): void {
  const { status, signal } = spawnSync(process.execPath, args, { stdio: 'inherit', env })
  if (status !== 0) process.exit(status ?? (signal === 'SIGINT' ? 130 : 1))
}

/** The path of a file beside this one. */
const beside = (name: string): string => fileURLToPath(new URL(name, import.meta.url))

const [first, ...rest] = process.argv.slice(2)
const unitOnly = first === '--unit'
const given = unitOnly ? rest : process.argv.slice(2)
const patterns = given.length > 0 ? given : unitOnly ? ALL.slice(0, 1) : ALL

if (!unitOnly) {
  const closure = closureOf(globSync(patterns))
  const complaint = ensureSystemPackages(given.length > 0 ? systemPackagesFor(closure) : systemPackages)
  if (complaint !== undefined) {
    console.error(complaint)
    process.exit(1)
  }
  for (const folder of lockfilesFor(closure)) run([beside('launch.cjs'), 'install', folder])
  if (given.length === 0) run([beside('check.ts')])
}

// The machine may be busy and small, so the limit is generous; it only ends tests that hang. `--test-force-exit`
// would hide what a test leaves open: the leak guard makes it a failure instead.
process.umask(0o022)
run(
  [
    '--test',
    '--test-concurrency=2',
    '--test-timeout=300000',
    '--test-reporter=spec',
    `--import=${new URL('leak-guard.ts', import.meta.url)}`,
    ...patterns,
  ],
  testEnvironment(),
)
