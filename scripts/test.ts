/**
 * `npm test`: installs what is missing, then runs `npm run check` and every unit and integration test.
 * `npm test -- FILE...` runs these test files alone, or those of a folder, and asks only for the packages that they need.
 * `npm run test:unit` runs the unit tests alone: they need no package of the system and no server.
 */

import { globSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { runNode, runTests } from './run-tests.ts'
import { closureOf } from './source-imports.ts'
import { ensureSystemPackages, lockfilesFor, systemPackages, systemPackagesFor } from './system-packages.ts'

const ALL = ['test/unit/**/*.test.ts', 'test/integration/**/*.test.ts']

/** The path of a file beside this one. */
const beside = (name: string): string => fileURLToPath(new URL(name, import.meta.url))

function testsIn(path: string): string {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ? `${path.replace(/\/+$/, '')}/**/*.test.ts` : path
}

const [first, ...rest] = process.argv.slice(2)
const unitOnly = first === '--unit'
const given = unitOnly ? rest : process.argv.slice(2)
const patterns = given.length > 0 ? given.map(testsIn) : unitOnly ? ALL.slice(0, 1) : ALL

if (!unitOnly) {
  const closure = closureOf(globSync(patterns))
  const complaint = ensureSystemPackages(given.length > 0 ? systemPackagesFor(closure) : systemPackages)
  if (complaint !== undefined) {
    console.error(complaint)
    process.exit(1)
  }
  for (const folder of lockfilesFor(closure)) runNode([beside('launch.cjs'), 'install', folder])
  if (given.length === 0) runNode([beside('check.ts')])
}

runTests(patterns)
