/**
 * Finds text that ties the files under version control to one machine: its paths, and addresses of package registries,
 * which differ from one network to the next.
 */

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')
// A user without a home has `/` there, or a folder that does not exist.
const home = homedir().length > 1 ? `${homedir()}/` : undefined
const rules: readonly (readonly [string, (line: string) => boolean])[] = [
  ['the address of a package', (line) => /"resolved":\s*"https?:|https?:\/\/registry\.[a-z]/.test(line)],
  ['a path in this working folder', (line) => line.includes(`${root}/`)],
  ['a path in a home folder', (line) => home !== undefined && line.includes(home)],
]

const files = execFileSync('git', ['ls-files', '-z'], { cwd: root, encoding: 'utf8' }).split('\0')
let found = 0
for (const file of files) {
  if (file === '') continue
  let lines: string[]
  try {
    lines = readFileSync(join(root, file), 'utf8').split('\n')
  } catch (error) {
    // Deleted, and the deletion not committed yet.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') continue
    throw error
  }
  lines.forEach((line, index) => {
    for (const [what, applies] of rules) {
      if (!applies(line)) continue
      found++
      console.error(`${file}:${index + 1}: ${what}: ${line.trim().slice(0, 120)}`)
    }
  })
}
if (found > 0) process.exitCode = 1
