/**
 * `npm run bench -- [SUITE ...] [--json] [--strict] [--rows N] [--long]`
 *
 * Runs the named suites, or all. With `--json` each suite ends in one line of JSON; otherwise a table is printed.
 * The exit code is 0 when the suites ran, with any result: a busy machine is no failure. With `--strict` it
 * is 1 when a bound is not met. `--rows` and `--long` are for `extract`, which explains them.
 */

import { parseArgs } from 'node:util'
import type { Result, SuiteOptions } from './measure.ts'

const suites: Readonly<Record<string, () => Promise<{ run: (options: SuiteOptions) => Promise<Result[]> }>>> = {
  pool: () => import('./pool.ts'),
  idle: () => import('./idle.ts'),
  import: () => import('./import.ts'),
  extract: () => import('./extract.ts'),
  proxy: () => import('./proxy.ts'),
  ticket: () => import('./ticket.ts'),
  gss: () => import('./gss.ts'),
  sqlserver: () => import('./sqlserver.ts'),
}

function usage(message: string): never {
  console.error(
    `${message}\nUsage: npm run bench -- [${Object.keys(suites).join(' | ')}] [--json] [--strict] [--rows N] [--long]`,
  )
  process.exit(2)
}

function table(suite: string, results: readonly Result[]): string {
  const rows = results.map(({ name, ours, peer, unit, ratio, bound, met }) => [
    name,
    `${ours} ${unit}`,
    `${peer} ${unit}`,
    ratio.toFixed(3),
    `<= ${Number(bound.toPrecision(4))}`,
    met ? 'met' : 'NOT MET',
  ])
  const all = [[suite, 'ours', 'peer', 'ratio', 'bound', ''], ...rows]
  const widths = [0, 1, 2, 3, 4, 5].map((column) => Math.max(...all.map((row) => (row[column] ?? '').length)))
  return all.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')).join('\n')
}

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        json: { type: 'boolean', default: false },
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
  const load = suites[suite]
  if (load === undefined) continue
  const results = await (await load()).run({ rows, long: values.long })
  met &&= results.every((result) => result.met)
  console.log(values.json ? JSON.stringify({ suite, results }) : `${table(suite, results)}\n`)
}
process.exitCode = values.strict && !met ? 1 : 0
