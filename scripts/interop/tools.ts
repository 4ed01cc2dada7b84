/** The programs that `npm run test:interop` finds on the machine and does not fetch. */

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'

export type ToolName = 'python' | 'java' | 'javac' | 'go' | 'npm' | 'maven'

export interface Tool {
  readonly path: string
  /** Part of the name of what is fetched with it, because environments of two versions are not exchangeable. */
  readonly version: string
}

interface Search {
  readonly candidates: readonly string[]
  readonly args: readonly string[]
  /** The version in what the program prints. */
  readonly version: RegExp
  readonly atLeast: readonly [number, number]
  /** A sentence's part: what is missing and how to install it. */
  readonly wanted: string
}

const home = process.env['JAVA_HOME']
const SEARCHES: Readonly<Record<ToolName, Search>> = {
  python: {
    candidates: ['python3', 'python3.13', 'python3.12', 'python3.11', 'python'],
    // Debian's python3 has no ensurepip without the package python3-venv.
    args: ['-c', 'import ensurepip, sys, venv; print("Python %d.%d" % sys.version_info[:2])'],
    version: /^Python (\d+)\.(\d+)/,
    atLeast: [3, 11],
    wanted: 'Python 3.11 or later with venv (in Debian: apt-get install python3 python3-venv)',
  },
  java: {
    candidates: [...(home === undefined ? [] : [join(home, 'bin', 'java')]), 'java'],
    args: ['-version'],
    version: /version "(\d+)(?:\.(\d+))?/,
    atLeast: [17, 0],
    wanted: 'Java 17 or later (in Debian: apt-get install openjdk-17-jre-headless)',
  },
  javac: {
    candidates: [...(home === undefined ? [] : [join(home, 'bin', 'javac')]), 'javac'],
    args: ['-version'],
    version: /javac (\d+)(?:\.(\d+))?/,
    atLeast: [17, 0],
    wanted: 'the compiler of Java 17 or later (in Debian: apt-get install openjdk-17-jdk-headless)',
  },
  maven: {
    candidates: ['mvn'],
    args: ['--version'],
    version: /Apache Maven (\d+)\.(\d+)/,
    atLeast: [3, 6],
    wanted: 'Maven 3.6 or later (in Debian: apt-get install maven)',
  },
  go: {
    candidates: ['go'],
    args: ['version'],
    version: /go(\d+)\.(\d+)/,
    atLeast: [1, 26],
    wanted: 'Go 1.26 or later (from https://go.dev/dl)',
  },
  npm: {
    candidates: ['npm'],
    args: ['--version'],
    version: /^(\d+)\.(\d+)/,
    atLeast: [10, 0],
    wanted: 'npm 10 or later',
  },
}

function find({ candidates, args, version, atLeast }: Search): Tool | undefined {
  for (const path of candidates) {
    const { stdout, stderr } = spawnSync(path, args, { encoding: 'utf8' })
    const [, major, minor = 0] = version.exec(`${stdout ?? ''}${stderr ?? ''}`) ?? []
    if (major === undefined) continue
    const fits = Number(major) > atLeast[0] || (Number(major) === atLeast[0] && Number(minor) >= atLeast[1])
    if (fits) return { path, version: `${major}.${minor}` }
  }
  return undefined
}

/** Looks for each of these programs once. `missing` says in words what is not there. */
export function findTools(names: readonly ToolName[]): {
  readonly found: Readonly<Partial<Record<ToolName, Tool>>>
  readonly missing: readonly string[]
} {
  const found: Partial<Record<ToolName, Tool>> = {}
  const missing: string[] = []
  for (const name of new Set(names)) {
    const tool = find(SEARCHES[name])
    if (tool === undefined) missing.push(SEARCHES[name].wanted)
    else found[name] = tool
  }
  return { found, missing }
}
