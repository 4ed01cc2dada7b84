/** Checks the one tarball in a folder with a tool that looks at packages: `check-package.ts FOLDER publint|attw`. */

import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'

const [folder = '', tool = ''] = process.argv.slice(2)
const [name] = readdirSync(folder).filter((file) => file.endsWith('.tgz'))
if (name === undefined) throw new Error(`There is no tarball in ${folder}: npm pack has failed.`)
const tarball = join(folder, name)
const bin = join(import.meta.dirname, '..', 'node_modules', '.bin', tool)
// The package is ESM only. Node from 22.12 on can also require() it, which the tool does not know.
const args = tool === 'attw' ? ['--profile', 'esm-only', tarball] : ['run', '--strict', tarball]
process.exitCode = spawnSync(bin, args, { stdio: 'inherit' }).status ?? 1
