/** The cost of each door of the package for a program that imports it, and the modules that stay unloaded. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

const ROOT = join(import.meta.dirname, '..', '..')
const SELF_IMPORT = join(ROOT, 'test', 'support', 'self-import.ts')

interface Size {
  /** Files of `src/` that an import of the door loads, and their length in bytes. */
  readonly modules: number
  readonly bytes: number
  /** Packages that are loaded with them. */
  readonly packages: readonly string[]
}

/** The most that each door may load; a new door adds its line. */
const LIMITS: Readonly<Record<string, Size>> = {
  poolsmith: { modules: 125, bytes: 475_000, packages: ['tarn'] },
  'poolsmith/audit': { modules: 30, bytes: 100_000, packages: [] },
  'poolsmith/extract': { modules: 54, bytes: 225_000, packages: [] },
  'poolsmith/kerberos': { modules: 50, bytes: 218_000, packages: [] },
  'poolsmith/kysely': { modules: 136, bytes: 530_000, packages: ['kysely', 'tarn'] },
  'poolsmith/pg': { modules: 133, bytes: 520_000, packages: ['tarn'] },
  'poolsmith/rotation': { modules: 80, bytes: 325_000, packages: [] },
  'poolsmith/secrets': { modules: 62, bytes: 260_000, packages: [] },
  'poolsmith/telemetry': { modules: 13, bytes: 42_000, packages: [] },
}

interface Loaded {
  readonly files: Readonly<Record<string, number>>
  readonly packages: readonly string[]
  readonly names: readonly string[]
}

async function load(door: string): Promise<Loaded> {
  const program = `
    import { statSync } from 'node:fs'
    import { registerHooks } from 'node:module'
    import { relative } from 'node:path'
    import { fileURLToPath } from 'node:url'
    const files = {}
    const packages = new Set()
    registerHooks({
      load(url, context, next) {
        if (url.includes('/node_modules/')) packages.add(url.split('/node_modules/').at(-1).split('/')[0])
        else if (url.startsWith('file:')) files[relative(process.cwd(), fileURLToPath(url))] = statSync(fileURLToPath(url)).size
        return next(url, context)
      },
    })
    const names = Object.keys(await import(${JSON.stringify(door)}))
    console.log(JSON.stringify({ files, packages: [...packages], names }))`
  const args = [`--import=${SELF_IMPORT}`, '--input-type=module', '-e', program]
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: ROOT })
  return JSON.parse(stdout) as Loaded
}

test('every door has a limit', async () => {
  const { exports } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { exports: object }
  const doors = Object.keys(exports).filter((door) => door !== './package.json')
  assert.deepEqual(
    doors.map((door) => door.replace('.', 'poolsmith')),
    Object.keys(LIMITS),
  )
})

for (const [door, limit] of Object.entries(LIMITS)) {
  test(`${door} loads at most ${limit.modules} modules, and no driver, SDK, file format or knex`, async () => {
    const { files, packages, names } = await load(door)
    const bytes = Object.values(files).reduce((sum, size) => sum + size, 0)
    const modules = Object.keys(files).length
    assert.ok(modules <= limit.modules && bytes <= limit.bytes, `it loads ${modules} modules of ${bytes} bytes`)
    assert.deepEqual(packages, limit.packages)
    assert.ok(names.length > 0)
  })
}

test('the main door loads nothing of extract and exports none of its names', async () => {
  const main = await load('poolsmith')
  assert.deepEqual(
    Object.keys(main.files).filter((file) => file.startsWith(join('src', 'extract'))),
    [],
  )
  const extract = await load('poolsmith/extract')
  assert.deepEqual(
    extract.names.filter((name) => main.names.includes(name)),
    [],
  )
})
