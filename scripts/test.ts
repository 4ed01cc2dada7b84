/**
 * `npm test`: what is missing is installed, then `npm run check`, then every unit and integration test.
 * `npm test -- FILE...` runs only these test files.
 */

import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { ensureSystemPackages } from './system-packages.ts'

function run(...args: string[]): void {
  const { status, signal } = spawnSync(process.execPath, args, { stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? (signal === 'SIGINT' ? 130 : 1))
}

const complaint = ensureSystemPackages()
if (complaint !== undefined) {
  console.error(complaint)
  process.exit(1)
}

const only = process.argv.slice(2)
if (only.length === 0) run(fileURLToPath(new URL('check.ts', import.meta.url)))

// The machine may be busy and small, so the limit is generous; it is there to end what hangs. `--test-force-exit`
// would hide what a test leaves open: the leak guard makes it a failure instead.
run(
  '--test',
  '--test-concurrency=2',
  '--test-timeout=120000',
  '--test-reporter=spec',
  `--import=${new URL('leak-guard.ts', import.meta.url)}`,
  ...(only.length > 0 ? only : ['test/unit/**/*.test.ts', 'test/integration/**/*.test.ts']),
)
