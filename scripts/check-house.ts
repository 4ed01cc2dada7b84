/**
 * Compares the sources with ARCHITECTURE.md: the table of rooms lists every folder and exactly the rooms that its files
 * import, every file that it or CONTRIBUTING.md names exists, no file is too long, no comment begins with "What", and
 * errors are recognised in every realm.
 */

import { existsSync, globSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { importsOf } from './source-imports.ts'

const MOST_LINES = 350

interface Room {
  /** `engine/knex`, below `src`. */
  readonly name: string
  readonly about: string
  readonly imports: readonly string[]
}

const root = join(import.meta.dirname, '..')
const page = readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8')
const problems: string[] = []

/** The rows of the table of rooms: a folder or file of `src` in backticks, what it holds, the rooms that it imports. */
const rooms: readonly Room[] = [...page.matchAll(/^\| `src\/([\w/.*-]+?)\/?` \| (.*) \| (.*) \|$/gm)].map(
  ([, name = '', about = '', imports = '']) => ({
    name,
    about,
    imports: imports === '' ? [] : imports.split(',').map((word) => word.trim()),
  }),
)
const LEAVES = '*.ts'

/** The room of a file below `src`: the longest match; a file beside the folders is a leaf. */
function roomOf(file: string): string | undefined {
  const fitting = rooms.filter(({ name }) => file === name || file.startsWith(`${name}/`))
  const [longest] = fitting.sort((a, b) => b.name.length - a.name.length)
  return longest?.name ?? (file.includes('/') ? undefined : LEAVES)
}

function sourceFiles(): string[] {
  return globSync('**/*.ts', { cwd: join(root, 'src') }).map((file) => file.replaceAll('\\', '/'))
}

function checkRooms(): void {
  const found = new Map<string, Set<string>>(rooms.map(({ name }) => [name, new Set()]))
  for (const file of sourceFiles()) {
    const room = roomOf(file)
    if (room === undefined) {
      problems.push(`ARCHITECTURE.md names no room for src/${file}`)
      continue
    }
    for (const imported of importsOf(join(root, 'src', file))) {
      const other = roomOf(relative(join(root, 'src'), imported).replaceAll('\\', '/'))
      if (other !== undefined && other !== room && other !== LEAVES) found.get(room)?.add(other)
    }
  }
  for (const { name, imports } of rooms) {
    const real = [...(found.get(name) ?? [])].sort()
    const told = [...imports].sort()
    if (real.join() !== told.join()) {
      problems.push(
        `ARCHITECTURE.md says that src/${name} imports: ${told.join(', ')}; its files import: ${real.join(', ')}`,
      )
    }
  }
}

function checkLeaves(): void {
  const files = sourceFiles().filter((file) => roomOf(file) === LEAVES)
  const about = rooms.find(({ name }) => name === LEAVES)?.about ?? ''
  for (const file of files) {
    if (!about.includes(`\`${file}\``)) problems.push(`ARCHITECTURE.md does not name the leaf src/${file}`)
  }
}

/** Every file or folder in backticks exists; a name alone may stand anywhere. */
function checkNames(): void {
  const files = globSync(['{src,test,scripts,bench,docs,examples}/**/*'], { cwd: root, exclude: ['**/node_modules'] })
  const known = files.map((file) => `/${file.replaceAll('\\', '/')}`)
  for (const source of ['ARCHITECTURE.md', 'CONTRIBUTING.md']) {
    const text = readFileSync(join(root, source), 'utf8')
    for (const [, name = ''] of text.matchAll(/`([\w-]+(?:\/[\w.-]+)*(?:\.ts|\.md|\/))`/g)) {
      const path = name.replace(/\/$/, '')
      if (!existsSync(join(root, path)) && !known.some((file) => file.endsWith(`/${path}`))) {
        problems.push(`${source} names ${name}, which does not exist`)
      }
    }
  }
}

/** In another realm (Jest, `node:vm`), an error of Node's own modules is no instance of our `Error`. */
function checkRealms(): void {
  for (const file of sourceFiles()) {
    if (
      file === 'any-error.ts' ||
      !/instanceof (Aggregate)?Error\b/.test(readFileSync(join(root, 'src', file), 'utf8'))
    )
      continue
    problems.push(`src/${file} tests for an error by instanceof; use isError or errorCode of src/any-error.ts`)
  }
}

function checkTexts(): void {
  for (const file of globSync('{src,scripts,bench,examples,test}/**/*.{ts,cjs}', {
    cwd: root,
    // Prisma's client is generated.
    exclude: ['**/node_modules', 'examples/layers/generated/**'],
  })) {
    const text = readFileSync(join(root, file), 'utf8')
    const [riddle] = /^ *(?:\/\*\*|\/\/|\*) What .*/m.exec(text) ?? []
    if (riddle !== undefined) problems.push(`${file} has a comment that begins with What: ${riddle.trim()}`)
    const lines = text.split('\n').length - 1
    if (lines > MOST_LINES)
      problems.push(`${file} has ${lines} lines; at most ${MOST_LINES}: see what its second subject is`)
  }
}

checkRooms()
checkLeaves()
checkNames()
checkRealms()
checkTexts()
for (const problem of problems) console.error(problem)
if (problems.length > 0) process.exitCode = 1
