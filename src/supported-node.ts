/** Every door imports this file first: on a Node that is too old, the import says so, and not the first login. */

import { PoolsmithError } from './errors.ts'
import { nodeProblem } from './node-version.ts'

const problem = nodeProblem(process.versions.node)
if (problem !== undefined) {
  throw new PoolsmithError(problem, {
    code: 'CONFIG_INVALID',
    phase: 'config',
    hint: 'Run the program with a newer Node; `node --version` shows which one it finds.',
  })
}
