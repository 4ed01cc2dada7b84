/** The downloads of `npm run test:interop` for a part of test/interop. */

import { join } from 'node:path'

export type Fetched = 'python' | 'npm' | 'go' | 'maven'

/** The variable by which the runner passes on the folder. */
export function variableOf(part: string, kind: Fetched): string {
  return `POOLSMITH_INTEROP_${part}_${kind}`.toUpperCase()
}

/** The folder of what a pin file of the part names: an environment of Python, `node_modules`, programs in Go, files from Maven. */
export function fetched(part: string, kind: Fetched): string {
  const folder = process.env[variableOf(part, kind)]
  if (folder === undefined) throw new Error(`Run these tests by \`npm run test:interop -- ${part}\`.`)
  return folder
}

/** The Python that has the packages of the part's `requirements.txt`. */
export function pythonOf(part: string): string {
  return join(fetched(part, 'python'), 'bin', 'python')
}
