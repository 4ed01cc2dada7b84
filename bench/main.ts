/**
 * `npm run bench -- [SUITE ...] [--json] [--readme] [--strict] [--rows N] [--long]`
 *
 * Runs the named suites, or all. With `--json` each suite ends in one line of JSON; otherwise a table is printed.
 * Both name the machine's load before and after, since a busy machine widens the spread.
 * The exit code is 0 when the suites ran, with any result: a busy machine is no failure. With `--strict` it is 1 when a
 * bound is not met or stays undecided. `--readme` writes the results into the table of README.md. `--rows` and `--long` are for `extract`, which explains them.
 */

import { availableParallelism, loadavg } from 'node:os'
import { parseArgs } from 'node:util'
import { type Result, type SuiteOptions, verdictOf } from './measure.ts'
import { writeTable } from './readme.ts'

const suites: Readonly<Record<string, () => Promise<{ run: (options: SuiteOptions) => Promise<Result[]> }>>> = {
  pool: () => import('./pool.ts'),
  rows: () => import('./rows.ts'),
  faces: () => import('./faces.ts'),
  hosts: () => import('./hosts.ts'),
  idle: () => import('./idle.ts'),
  import: () => import('./import.ts'),
  extract: () => import('./extract.ts'),
  proxy: () => import('./proxy.ts'),
  ticket: () => import('./ticket.ts'),
  gss: () => import('./gss.ts'),
  sqlserver: () => import('./sqlserver.ts'),
  secrets: () => import('./secrets.ts'),
  audit: () => import('./audit.ts'),
}

function usage(message: string): never {
  console.error(
    `${message}\nUsage: npm run bench -- [${Object.keys(suites).join(' | ')}] [--json] [--readme] [--strict] [--rows N] [--long]`,
  )
  process.exit(2)
}

function table(suite: string, results: readonly Result[]): string {
  const rows = results.map((result) =>
    result.missing !== undefined
      ? [result.name, '', '', '', '', '', verdictOf(result)]
      : [
          result.name,
          `${result.ours} ${result.unit}`,
          `${result.peer} ${result.unit}`,
          result.ratio.toFixed(3),
          result.spread?.map((edge) => edge.toFixed(3)).join(' to ') ?? '',
          `<= ${Number(result.bound.toPrecision(4))}`,
          verdictOf(result),
        ],
  )
  const all = [[suite, 'ours', 'peer', 'ratio', 'spread', 'bound', ''], ...rows]
  const widths = [0, 1, 2, 3, 4, 5, 6].map((column) => Math.max(...all.map((row) => (row[column] ?? '').length)))
  return all.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')).join('\n')
}

/** The number of processes that ran or waited to run, averaged over a minute. */
function load1(): number {
  return Number((loadavg()[0] ?? 0).toFixed(2))
}

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        json: { type: 'boolean', default: false },
        readme: { type: 'boolean', default: false },
        strict: { type: 'boolean', default: false },
        rows: { type: 'string' },
        long: { type: 'boolean', default: false },
      },
    })
  } catch (error) {
    return usage(error instanceof Error ? error.message : String(error))
  }
}

const { values, positionals } = readArguments()
for (const name of positionals) if (!Object.hasOwn(suites, name)) usage(`No suite is called ${name}.`)

const rows = values.rows === undefined ? undefined : Number(values.rows)
if (rows !== undefined && !(Number.isSafeInteger(rows) && rows > 0)) usage('--rows takes a whole number above zero.')

let met = true
for (const suite of positionals.length === 0 ? Object.keys(suites) : positionals) {
  const suiteOf = suites[suite]
  if (suiteOf === undefined) continue
  const loadBefore = load1()
  const results = await (await suiteOf()).run({ rows, long: values.long })
  const machine = { cores: availableParallelism(), loadBefore, loadAfter: load1() }
  met &&= results.every((result) => result.missing !== undefined || verdictOf(result) === 'met')
  const shown = `${table(suite, results)}\nload ${loadBefore} before, ${machine.loadAfter} after, on ${machine.cores} cores\n`
  if (values.readme) writeTable(suite, results)
  const verdicts = results.map((result) => ({ ...result, verdict: verdictOf(result) }))
  console.log(values.json ? JSON.stringify({ suite, machine, results: verdicts }) : shown)
}
process.exitCode = values.strict && !met ? 1 : 0
