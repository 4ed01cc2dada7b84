/**
 * `npm run test:interop`: tests against programs that neither npm nor Debian has, such as the readers of our files in
 * Python. `npm run test:interop -- PART...` runs these parts alone, `-- FILE...` these test files. `npm test` and CI
 * never call it.
 *
 * A part is a folder of test/interop. The files in it that pin versions and hashes say what is fetched
 * (scripts/interop/pins.ts); test/support/interop.ts tells the tests where it is.
 */

import { existsSync, globSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { variableOf } from '../test/support/interop.ts'
import { cacheFolder, fetchPins, pinsIn } from './interop/pins.ts'
import { findTools, type ToolName } from './interop/tools.ts'
import { runTests } from './run-tests.ts'
import { closureOf } from './source-imports.ts'
import { ensureSystemPackages, systemPackagesFor } from './system-packages.ts'

const FOLDER = join('test', 'interop')

/** Programs that a part runs beside those that its pins are fetched with. */
const ALSO_NEEDED: Readonly<Record<string, readonly ToolName[]>> = {
  readers: ['java'],
  engines: ['java'],
  sqlserver: ['java', 'javac'],
}

/** Variables that say where something is that a part needs and does not fetch. */
const VARIABLES: Readonly<Record<string, { readonly name: string; readonly what: string }>> = {
  babelfish: { name: 'POOLSMITH_BABELFISH', what: 'the folder of an installation of Babelfish' },
  knex: { name: 'POOLSMITH_KNEX_SOURCE', what: 'a git clone of knex that has the commit of its release' },
}

function fail(sentence: string): never {
  console.error(`poolsmith: ${sentence}`)
  process.exit(1)
}

const parts = readdirSync(FOLDER, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name)
const given = process.argv.slice(2)

/** The part of an argument: its name, or a test file in it. */
function partOf(argument: string): string {
  const [, name = argument] = /^test[\\/]interop[\\/]([^\\/]+)[\\/]/.exec(argument) ?? []
  return parts.includes(name) ? name : fail(`${argument} is no part of ${FOLDER}; the parts are ${parts.join(', ')}.`)
}

const isLacking = (part: string): boolean => VARIABLES[part] !== undefined && !process.env[VARIABLES[part].name]
const chosen = given.length === 0 ? parts.filter((part) => !isLacking(part)) : [...new Set(given.map(partOf))]
for (const part of parts.filter(isLacking)) {
  const sentence = `the part ${part} needs ${VARIABLES[part]?.name}: ${VARIABLES[part]?.what}.`
  if (chosen.includes(part)) fail(sentence)
  if (given.length === 0) console.error(`poolsmith: ${sentence} It is left out.`)
}
const patterns = (given.length === 0 ? chosen : given).flatMap((argument) =>
  parts.includes(argument) ? globSync(join(FOLDER, argument, '**', '*.test.ts')) : [argument],
)
const absent = patterns.filter((file) => !existsSync(file))
if (absent.length > 0) fail(`there is no test file ${absent.join(', ')}.`)

const pins = chosen.flatMap((part) => pinsIn(join(FOLDER, part)).map((pin) => ({ part, ...pin })))
const needed = [...pins.map(({ tool }) => tool), ...chosen.flatMap((part) => ALSO_NEEDED[part] ?? [])]
const { found, missing } = findTools(needed)
if (missing.length > 0) fail(`${chosen.join(', ')}: this machine lacks ${missing.join(', and ')}.`)
const complaint = ensureSystemPackages(systemPackagesFor(closureOf(patterns)))
if (complaint !== undefined) fail(complaint)

const environment: Record<string, string | undefined> = { JAVA_HOME: process.env['JAVA_HOME'] }
for (const { name } of Object.values(VARIABLES)) environment[name] = process.env[name]
for (const { part, tool, files } of pins) {
  const program = found[tool]
  if (program === undefined) continue
  environment[variableOf(part, tool)] = fetchPins(files, tool, program, join(cacheFolder(), part), fail)
}
// Readers take much memory, and the first start of a virtual machine much time.
runTests(patterns, { limitMillis: 900_000, concurrency: 1, environment })
