/** `npm run check`: every rule that can be held without running the code. All of them run; any failure fails. */

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')
const bin = join(root, 'node_modules', '.bin')

interface Check {
  readonly name: string
  readonly command: readonly [string, ...string[]]
}

const checks: readonly Check[] = [
  {
    name: 'format, lint and the arrows between the rooms',
    command: [join(bin, 'biome'), 'check', '--error-on-warnings'],
  },
  { name: 'types', command: [join(bin, 'tsc')] },
]

let failed = 0
for (const { name, command } of checks) {
  const started = performance.now()
  const [program, ...args] = command
  const { status, stdout, stderr } = spawnSync(program, args, { cwd: root, encoding: 'utf8' })
  const took = `${((performance.now() - started) / 1000).toFixed(1)} s`
  console.log(`${status === 0 ? 'ok  ' : 'FAIL'} ${name} (${took})`)
  if (status !== 0) {
    failed++
    console.log(`${stdout}${stderr}`)
  }
}
if (failed > 0) {
  console.error(`${failed} of ${checks.length} checks failed.`)
  process.exit(1)
}
