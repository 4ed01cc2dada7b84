/**
 * `npm test`: what is missing is installed, then `npm run check`, then every unit and integration test.
 * `npm test -- FILE...` runs only these test files.
 *
 * The tests get an environment and a umask of their own: what this shell says to libpq, Kerberos, a cloud's SDK or curl
 * is not meant for them.
 */

import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { ensureSystemPackages } from './system-packages.ts'

/**
 * What says where and for whom the tests run, and which servers there are for the live suite; npm's word on registries
 * and proxies, since one test installs packages.
 */
const KEPT =
  /^(PATH|HOME|USER|LOGNAME|TMPDIR|TZ|LANG|LC_[A-Z]+|TERM|CI|npm_\w+|NODE_EXTRA_CA_CERTS|POOLSMITH_TEST_\w+)$/

function testEnvironment(): NodeJS.ProcessEnv {
  const outer = process.env
  return {
    ...Object.fromEntries(Object.entries(outer).filter(([name]) => KEPT.test(name))),
    // npm's names for what curl would follow as well.
    npm_config_https_proxy: outer.npm_config_https_proxy || outer.HTTPS_PROXY || outer.https_proxy,
    npm_config_proxy: outer.npm_config_proxy || outer.HTTP_PROXY || outer.http_proxy,
    npm_config_noproxy: outer.npm_config_noproxy || outer.NO_PROXY || outer.no_proxy,
  }
}

function run(args: string[], env = process.env): void {
  const { status, signal } = spawnSync(process.execPath, args, { stdio: 'inherit', env })
  if (status !== 0) process.exit(status ?? (signal === 'SIGINT' ? 130 : 1))
}

const complaint = ensureSystemPackages()
if (complaint !== undefined) {
  console.error(complaint)
  process.exit(1)
}

const only = process.argv.slice(2)
if (only.length === 0) run([fileURLToPath(new URL('check.ts', import.meta.url))])

// The machine may be busy and small, so the limit is generous; it is there to end what hangs. `--test-force-exit`
// would hide what a test leaves open: the leak guard makes it a failure instead.
process.umask(0o022)
run(
  [
    '--test',
    '--test-concurrency=2',
    '--test-timeout=300000',
    '--test-reporter=spec',
    `--import=${new URL('leak-guard.ts', import.meta.url)}`,
    ...(only.length > 0 ? only : ['test/unit/**/*.test.ts', 'test/integration/**/*.test.ts']),
  ],
  testEnvironment(),
)
