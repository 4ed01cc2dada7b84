/** Runs test files as `npm test` and `npm run test:interop` do: with an environment and a umask of their own. */

import { spawnSync } from 'node:child_process'

/**
 * Where and for whom the tests run, and the servers of the live suite; npm's registry and proxy settings, since one test
 * installs packages.
 */
const KEPT =
  /^(PATH|HOME|USER|LOGNAME|TMPDIR|TZ|LANG|LC_[A-Z]+|TERM|CI|npm_\w+|NODE_EXTRA_CA_CERTS|POOLSMITH_TEST_\w+)$/

/** The shell's settings for libpq, Kerberos, a cloud's SDK or curl do not reach the tests. */
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

/** Runs this Node, and ends this process with the other one's failure. */
export function runNode(args: readonly string[], env = process.env): void {
  const { status, signal } = spawnSync(process.execPath, args, { stdio: 'inherit', env })
  if (status !== 0) process.exit(status ?? (signal === 'SIGINT' ? 130 : 1))
}

export interface RunSettings {
  /** The limit of one test; the machine may be busy and small, so it only ends tests that hang. */
  readonly limitMillis?: number
  readonly concurrency?: number
  /** Variables beside those of {@link testEnvironment}. */
  readonly environment?: Readonly<Record<string, string | undefined>>
}

/** `--test-force-exit` would hide what a test leaves open: the leak guard makes it a failure instead. */
export function runTests(patterns: readonly string[], settings: RunSettings = {}): void {
  const { limitMillis = 300_000, concurrency = 2, environment = {} } = settings
  process.umask(0o022)
  runNode(
    [
      '--test',
      `--test-concurrency=${concurrency}`,
      `--test-timeout=${limitMillis}`,
      '--test-reporter=spec',
      `--import=${new URL('leak-guard.ts', import.meta.url)}`,
      ...patterns,
    ],
    { ...testEnvironment(), ...environment },
  )
}
