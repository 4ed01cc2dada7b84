/**
 * The downloads of a part of `npm run test:interop`, by files that pin versions and hashes, and the cache that keeps it:
 *
 * - `requirements.txt`: a virtual environment of Python, by pip with `--require-hashes`; `requirements-build.txt` is
 *   installed first and has what builds those packages that come as source only; `requirements-alone.txt` has packages
 *   whose dependencies are left out, because the tests use a small part of them
 * - `package-lock.json` (with package.json): a folder with `node_modules`, by `npm ci` without install scripts
 * - `go.sum` (with go.mod and the program): a folder with the programs, by `go build` with modules that the file names
 * - `maven.txt`: a folder with the files of these artifacts, by Maven; a line has the coordinates and the SHA-256
 *
 * Each is kept under the hash of its files and of the tool's version, so that a new pin makes a new one.
 */

import { spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { copyFileSync, existsSync, globSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { homedir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import type { Tool, ToolName } from './tools.ts'

interface Pin {
  readonly tool: Exclude<ToolName, 'java' | 'javac'>
  /** The files that decide what is fetched. */
  readonly files: readonly string[]
}

/** The pins in the folder of a part. */
export function pinsIn(folder: string): readonly Pin[] {
  const kinds: readonly (readonly [Pin['tool'], string, string])[] = [
    ['python', 'requirements.txt', 'requirements{-alone,-build,}.txt'],
    ['npm', 'package-lock.json', 'package{,-lock}.json'],
    ['go', 'go.sum', '{go.mod,go.sum,*.go}'],
    ['maven', 'maven.txt', 'maven.txt'],
  ]
  return kinds
    .filter(([, lock]) => existsSync(join(folder, lock)))
    .map(([tool, , files]) => ({ tool, files: globSync(join(folder, files)).sort() }))
}

/** POOLSMITH_INTEROP_CACHE, or a folder in the user's cache. */
export function cacheFolder(): string {
  const given = process.env['POOLSMITH_INTEROP_CACHE']
  if (given !== undefined && given !== '') return resolve(given)
  const caches = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache')
  return join(caches, 'poolsmith-interop')
}

type Fail = (sentence: string) => never

/**
 * Fetches what the files name unless the cache has it, and returns its folder.
 *
 * @param cache the folder of the part in the cache
 */
export function fetchPins(files: readonly string[], name: Pin['tool'], tool: Tool, cache: string, fail: Fail): string {
  const hash = createHash('sha256').update(tool.version)
  for (const file of files) hash.update(basename(file)).update(readFileSync(file))
  const place = join(cache, `${name}-${hash.digest('hex').slice(0, 16)}`)
  if (existsSync(place)) return place
  // A link appears when its folder is complete. An environment of Python cannot be moved, so it is not renamed.
  const folder = `${place}-${randomBytes(4).toString('hex')}`
  console.error(`Fetching what ${files.join(', ')} names into ${folder} ...`)
  mkdirSync(folder, { recursive: true })
  const trouble = STEPS[name](tool.path, files, folder)
  if (trouble !== undefined) {
    rmSync(folder, { recursive: true, force: true })
    return fail(`${trouble}; what it says stands above.`)
  }
  symlinkSync(basename(folder), `${folder}.link`)
  renameSync(`${folder}.link`, place)
  return place
}

const MAVEN_COPY = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy'

/** Maven itself compares a file with what the repository says, not with what we know. */
function compare(folder: string, artifact: string, expected: string): string | undefined {
  const [, name, version, type] = artifact.split(':')
  const bytes = readFileSync(join(folder, `${name}-${version}.${type}`))
  const actual = createHash('sha256').update(bytes).digest('hex')
  return actual === expected ? undefined : `${artifact} has the SHA-256 ${actual}, which is not the pinned one`
}

type Step = (program: string, files: readonly string[], folder: string) => string | undefined

const STEPS: Readonly<Record<Pin['tool'], Step>> = {
  python(program, files, folder) {
    const pip = [join(folder, 'bin', 'python'), '-m', 'pip', 'install', '--quiet', '--require-hashes']
    // Under build isolation, pip would fetch what builds a package without a pin.
    const install = (file: string): readonly string[] => {
      const alone = basename(file) === 'requirements-alone.txt' ? ['--no-deps'] : []
      return [...pip, '--no-build-isolation', ...alone, '-r', file]
    }
    return firstFailure([[program, '-m', 'venv', folder], ...files.map(install)])
  },
  npm(program, files, folder) {
    for (const file of files) copyFileSync(file, join(folder, basename(file)))
    return run([program, 'ci', '--ignore-scripts', '--no-audit', '--no-fund'], folder)
  },
  go(program, files, folder) {
    for (const file of files) copyFileSync(file, join(folder, basename(file)))
    return run(
      [program, 'build', '-mod=readonly', '-trimpath', '-ldflags=-s -w', '-o', join(folder, 'bin', '/'), './...'],
      folder,
    )
  },
  maven(program, files, folder) {
    for (const file of files) {
      for (const line of readFileSync(file, 'utf8').split('\n')) {
        const [artifact = '', hash = ''] = line.split(' ')
        if (artifact === '') continue
        const copy = [program, '-q', '-B', MAVEN_COPY, `-Dartifact=${artifact}`, `-DoutputDirectory=${folder}`]
        const failure = run(copy) ?? compare(folder, artifact, hash)
        if (failure !== undefined) return failure
      }
    }
    return undefined
  },
}

function firstFailure(commands: readonly (readonly string[])[]): string | undefined {
  for (const command of commands) {
    const failure = run(command)
    if (failure !== undefined) return failure
  }
  return undefined
}

/** Runs a step with its output on our standard error. @returns the part of a sentence that says what failed */
function run([program = '', ...args]: readonly string[], cwd?: string): string | undefined {
  const { status, error } = spawnSync(program, args, { cwd, stdio: ['ignore', 2, 2] })
  if (error !== undefined) return `${program} could not be started (${error.message})`
  return status === 0 ? undefined : `${[program, ...args.slice(0, 3)].join(' ')} failed`
}
