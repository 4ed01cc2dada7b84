/** The cost of `import 'poolsmith'`, compared with `import 'knex'`, and the drivers and SDKs that it loads (none). */

import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { compare, exactly, type Result } from './measure.ts'

const execute = promisify(execFile)
const root = fileURLToPath(new URL('..', import.meta.url))
const ROUNDS = 15

const HEAVY =
  /^(pg|pg-.*|tedious|mssql|koffi|yaml|apache-arrow|parquet-wasm|@azure\/.*|@aws-sdk\/.*|@smithy\/.*|@mongodb-js\/.*)$/

/** Runs a program in a process of its own, in a folder where the package can import itself by its name. */
async function output(program: string): Promise<unknown> {
  const { stdout } = await execute(process.execPath, ['--input-type=module', '-e', program], { cwd: root })
  return JSON.parse(stdout)
}

async function importMillis(specifier: string): Promise<number> {
  const program = `
    const begin = performance.now()
    await import(${JSON.stringify(specifier)})
    console.log(performance.now() - begin)
  `
  return Number(await output(program))
}

/** The packages that an import loads a file of, by import or by require. */
async function loadedPackages(specifier: string): Promise<string[]> {
  const program = `
    import { registerHooks } from 'node:module'
    const packages = new Set()
    registerHooks({
      load(url, context, next) {
        const [, ...inside] = url.split('/node_modules/')
        const path = inside.at(-1)?.split('/')
        if (path !== undefined) packages.add(path.slice(0, path[0].startsWith('@') ? 2 : 1).join('/'))
        return next(url, context)
      },
    })
    await import(${JSON.stringify(specifier)})
    console.log(JSON.stringify([...packages]))
  `
  return (await output(program)) as string[]
}

export async function run(): Promise<Result[]> {
  // Users import the built package, so it is built from the present sources before it is measured.
  await execute('npm', ['run', 'build'], { cwd: root }).catch((error: { stdout: string }) => {
    throw new Error(`The build failed:\n${error.stdout}`)
  })
  const packages = await loadedPackages('poolsmith')
  const heavy = packages.filter((name) => HEAVY.test(name))
  console.error(`import 'poolsmith' loads ${packages.length === 0 ? 'no package' : packages.join(', ')}`)
  return [
    await compare({
      name: "import 'poolsmith' against import 'knex'",
      unit: 'ms',
      bound: 1.5,
      rounds: ROUNDS,
      ours: () => importMillis('poolsmith'),
      peer: () => importMillis('knex'),
    }),
    exactly(
      `drivers and SDKs that it loads${heavy.length === 0 ? '' : `: ${heavy.join(', ')}`}`,
      'packages',
      heavy.length,
      0,
    ),
  ]
}
