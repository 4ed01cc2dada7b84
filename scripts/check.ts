/**
 * `npm run check`: every rule that can be checked without running the tests. All of them run, so that one run shows
 * all failures.
 */

import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')

/** A program from node_modules/.bin, or a script beside this one. */
function tool(name: string, ...args: string[]): string[] {
  return [join(root, 'node_modules', '.bin', name), ...args]
}
function script(name: string, ...args: string[]): string[] {
  return [process.execPath, join(import.meta.dirname, name), ...args]
}

const packed = mkdtempSync(join(tmpdir(), 'poolsmith-pack-'))
const checks: readonly (readonly [string, string[]])[] = [
  ['format, lint, arrows between the rooms', tool('biome', 'check', '--error-on-warnings', '--diagnostic-level=warn')],
  ['types', tool('tsc')],
  ['nothing unused', tool('knip', '--no-progress', '--no-config-hints')],
  [
    'nothing in the package that its doors do not lead to',
    tool(
      'knip',
      '--production',
      '--include',
      'files,dependencies,unlisted,unresolved',
      '--no-progress',
      '--no-config-hints',
    ),
  ],
  ['reference pages say what the code says', script('generate-docs.ts', '--check')],
  ['ARCHITECTURE.md and the sources agree, no file is too long', script('check-house.ts')],
  ['no addresses or paths of one machine', script('check-portable.ts')],
  ['the package builds and packs', ['npm', 'pack', '--pack-destination', packed]],
  ['the package, by publint', script('check-package.ts', packed, 'publint')],
  ['the types, by are-the-types-wrong', script('check-package.ts', packed, 'attw')],
]

let failed = 0
try {
  for (const [name, [program = '', ...args]] of checks) {
    const started = performance.now()
    const { status, stdout, stderr, error } = spawnSync(program, args, { cwd: root, encoding: 'utf8' })
    const took = `${((performance.now() - started) / 1000).toFixed(1)} s`
    console.log(`${status === 0 ? 'ok  ' : 'FAIL'} ${name} (${took})`)
    if (status === 0) continue
    failed++
    console.log(`${stdout ?? ''}${stderr ?? ''}${error?.message ?? ''}`)
  }
} finally {
  rmSync(packed, { recursive: true, force: true })
}
if (failed > 0) {
  console.error(`${failed} of ${checks.length} checks failed.`)
  process.exitCode = 1
}
