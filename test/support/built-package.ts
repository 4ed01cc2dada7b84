/** The package as `npm run build` makes it, in a project of its own whose node_modules has no other packages than named. */

import { execFile } from 'node:child_process'
import { copyFile, mkdir, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { temporaryFolder } from './folder.ts'

const ROOT = join(import.meta.dirname, '..', '..')

/** The dependencies in package.json. */
const DEPENDENCIES = ['@mongodb-js/saslprep', 'knex', 'tarn', 'yaml']

/**
 * A folder with a package.json, and `poolsmith` in its node_modules.
 *
 * @param packages the optional packages that it has too
 */
export async function projectWithPackage(packages: readonly string[]): Promise<{ path: string } & AsyncDisposable> {
  const folder = await temporaryFolder()
  const own = join(folder.path, 'node_modules', 'poolsmith')
  await mkdir(own, { recursive: true })
  const tsc = join(ROOT, 'node_modules', '.bin', 'tsc')
  const options = ['--declaration', 'false', '--sourceMap', 'false', '--outDir', join(own, 'dist')]
  await promisify(execFile)(tsc, ['-p', 'tsconfig.build.json', ...options], { cwd: ROOT })
  await copyFile(join(ROOT, 'package.json'), join(own, 'package.json'))
  for (const name of [...DEPENDENCIES, ...packages]) {
    const link = join(folder.path, 'node_modules', name)
    await mkdir(dirname(link), { recursive: true })
    await symlink(join(ROOT, 'node_modules', name), link)
  }
  await writeFile(join(folder.path, 'package.json'), '{ "private": true, "type": "module" }')
  return folder
}
