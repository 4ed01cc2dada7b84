/** The files that a source file imports, read from its text: for checks, and to find the packages that tests need. */

import { existsSync, readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'

/** `from './x.ts'`, `import('./x.ts')`, `import './x.ts'`: of this repository only. */
const IMPORT = /(?:\bfrom|\bimport)\s*\(?\s*'(\.{1,2}\/[^']+)'/g

/** The absolute paths of the files that a file imports, types included. */
export function importsOf(file: string): string[] {
  return [...readFileSync(file, 'utf8').matchAll(IMPORT)].map(([, path = '']) => resolve(dirname(file), path))
}

/** These files with all that they import, directly or not. */
export function closureOf(files: readonly string[]): ReadonlySet<string> {
  const found = new Set<string>()
  const visit = (file: string): void => {
    // The imports of a program in a string are relative to the place where it runs.
    if (found.has(file) || !existsSync(file)) return
    found.add(file)
    if (file.endsWith('.ts')) for (const next of importsOf(file)) visit(next)
  }
  for (const file of files) visit(resolve(file))
  return found
}
