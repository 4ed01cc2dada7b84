/** The options of `poolsmith extract`, and the options of an extract that they stand for. */

import { readFile, realpath } from 'node:fs/promises'
import { badPlan, checkPlan } from '../extract/check-plan.ts'
import { readOwnText } from '../extract/files/own-files.ts'
import { EXTRACT_FORMATS, type ExtractFormat } from '../extract/formats.ts'
import type { FormatOptions, SelectOptions, WatermarkOptions } from '../extract/options.ts'
import type { ExtractPlan } from '../extract/plan.ts'
import type { ExtractSource } from '../extract/read/table.ts'
import { DistrustedFile } from '../private-file.ts'
import { type Call, type CommandOption, UsageError } from './command.ts'
import { parseColumnNames, parseTableName } from './names.ts'

export const EXTRACT_OPTIONS = {
  to: {
    type: 'string',
    value: 'DIR',
    description: 'The folder to write below; made when it does not exist. Required, except with --plan.',
  },
  format: { type: 'string', value: 'FORMAT', description: `One of ${EXTRACT_FORMATS.join(', ')}. Default: parquet.` },
  columns: {
    type: 'string',
    value: 'A,B,...',
    description: 'The columns to read; a name that holds a comma in double quotes. Default: all.',
  },
  'as-text': {
    type: 'string',
    value: 'A,B,...',
    description: "Read these columns as the server's own text, whatever their type.",
  },
  where: { type: 'string', value: 'SQL', description: 'The condition of the rows to read, in SQL. Default: all rows.' },
  query: {
    type: 'string',
    value: 'SQL',
    description: 'Read the rows of this query, or of the one in @FILE; schema.table is then only their name.',
  },
  watermark: {
    type: 'string',
    value: 'COLUMN',
    description:
      'Read only rows that came since the last run: a column that rises with each row that is added or changed.',
  },
  after: {
    type: 'string',
    value: 'VALUE',
    description: 'Read rows with a greater watermark than this value. Default: from the beginning.',
  },
  from: { type: 'string', value: 'VALUE', description: 'The same, with the rows that have this value.' },
  state: {
    type: 'string',
    value: 'FILE',
    description: 'Keep the watermark in this file from run to run; --after and --from count while there is none.',
  },
  partitions: { type: 'string', value: 'N', description: 'Read in N parts at the same time. Default: 1.' },
  'partition-by': { type: 'string', value: 'COLUMN', description: 'Divide by ranges of this column.' },
  'row-hash': { type: 'boolean', description: 'Add _row_hash, the SHA-256 of each row.' },
  'guard-formulas': {
    type: 'boolean',
    description: "CSV: write ' before text that a spreadsheet would take for a formula.",
  },
  'no-resume': { type: 'boolean', description: 'Do not go on where a run in parts has failed today.' },
  'no-one-snapshot': {
    type: 'boolean',
    description: 'SQL Server: let each session read its parts at its own moment.',
  },
  plan: {
    type: 'string',
    value: 'FILE',
    description: 'Write the plan of the parts to this file, and read nothing.',
  },
  hold: { type: 'boolean', description: 'With --plan: keep its snapshot open until Ctrl-C.' },
  partition: {
    type: 'string',
    value: 'FILE#K',
    description: 'Read part K (from 0) of the plan in this file, which says all but the connection and --to.',
  },
  source: {
    type: 'string',
    value: 'NAME',
    description: "The source's name in the path and in _source. Default: the connection's id, else its database.",
  },
} as const satisfies Record<string, CommandOption>

type Name = keyof typeof EXTRACT_OPTIONS

/** Options that the plan of `--partition` decides. */
const NOT_WITH_PARTITION: readonly Name[] = [
  'format',
  'columns',
  'as-text',
  'where',
  'query',
  'watermark',
  'after',
  'from',
  'state',
  'partitions',
  'partition-by',
  'row-hash',
  'guard-formulas',
  'no-resume',
  'no-one-snapshot',
  'plan',
  'hold',
  'source',
]

/** The text of an option; an empty one counts as not given. */
export function textOption({ values }: Call, name: Name): string | undefined {
  const value = values[name]
  return typeof value === 'string' && value !== '' ? value : undefined
}

export function requiredTarget(call: Call): string {
  const to = textOption(call, 'to')
  if (to === undefined) throw new UsageError('--to is missing: the folder to write below.')
  return to
}

/** The table, or the query under the table's name. */
export async function sourceOption(call: Call): Promise<ExtractSource> {
  const given = call.positionals[1]
  if (given === undefined) throw new UsageError('<schema.table> is missing.')
  const name = parseTableName(given)
  const query = textOption(call, 'query')
  if (query === undefined) return name
  const { schema, table } = name
  const sql = query.startsWith('@') ? await fileText(query.slice(1), '--query') : query
  return { query: sql, name: table, schema }
}

export function selectOptions(call: Call): SelectOptions & FormatOptions {
  const where = textOption(call, 'where')
  return {
    format: formatOf(call.values['format']),
    signal: call.signal,
    source: textOption(call, 'source'),
    columns: columnsOption(call, 'columns'),
    asText: columnsOption(call, 'as-text'),
    // A question mark in the text is not a place for a value.
    where: where === undefined ? undefined : (query) => query.whereRaw(where.replaceAll('?', '\\?')),
    watermark: watermarkOption(call),
    partitions: partitionsOption(textOption(call, 'partitions')),
    partitionBy: textOption(call, 'partition-by'),
    oneSnapshot: call.values['no-one-snapshot'] === true ? false : undefined,
    rowHash: call.values['row-hash'] === true || undefined,
    guardFormulas: call.values['guard-formulas'] === true || undefined,
  }
}

function columnsOption(call: Call, name: Name): readonly string[] | undefined {
  const given = textOption(call, name)
  return given === undefined ? undefined : parseColumnNames(name, given)
}

function watermarkOption(call: Call): WatermarkOptions | undefined {
  const column = textOption(call, 'watermark')
  const after = textOption(call, 'after')
  const from = textOption(call, 'from')
  const state = textOption(call, 'state')
  if (column === undefined) {
    if (after === undefined && from === undefined && state === undefined) return undefined
    throw new UsageError('--after, --from and --state need --watermark, the column of the mark.')
  }
  if (after !== undefined && from !== undefined) throw new UsageError('Give --after or --from, not both.')
  return { column, after, from, state }
}

function partitionsOption(given: string | undefined): number | undefined {
  if (given === undefined) return undefined
  if (!/^[1-9]\d{0,4}$/.test(given)) throw new UsageError(`--partitions expects a whole number from 1, got ${given}.`)
  return Number(given)
}

function formatOf(value: string | boolean | undefined): ExtractFormat {
  if (value === undefined) return 'parquet'
  const found = EXTRACT_FORMATS.find((format) => format === value)
  if (found === undefined) throw new UsageError(`--format expects one of ${EXTRACT_FORMATS.join(', ')}, got ${value}.`)
  return found
}

/** The plan in the file before the last `#`, and the number after it. */
export async function partitionOption(
  call: Call,
): Promise<{ readonly plan: ExtractPlan; readonly number: number } | undefined> {
  const given = textOption(call, 'partition')
  if (given === undefined) return undefined
  const beside = NOT_WITH_PARTITION.filter((name) => call.values[name] !== undefined)
  if (beside.length > 0) throw new UsageError(`--partition takes ${beside[0]} from the plan; leave --${beside[0]} out.`)
  if (call.positionals.length > 1) throw new UsageError('--partition takes the table from the plan; leave it out.')
  const [, file, digits] = /^(.+)#(\d+)$/.exec(given) ?? []
  if (file === undefined) throw new UsageError(`--partition expects FILE#K, got ${given}.`)
  const plan = await planIn(file)
  const number = Number(digits)
  checkPlan(plan, number)
  return { plan, number }
}

/** It holds SQL, so no other user may have written it. A link to it is followed, and the file is checked. */
async function planIn(file: string): Promise<unknown> {
  let text: string
  try {
    text = await readOwnText(await realpath(file))
  } catch (error) {
    if (!(error instanceof DistrustedFile)) throw unreadable('--partition', error)
    const hint =
      error.kind === 'mode'
        ? 'If the plan is yours, take that permission away (chmod go-w): a plan holds SQL that is run.'
        : 'Copy the plan into a file of this user if you trust it: a plan holds SQL that is run.'
    throw badPlan(`${file} ${error.reason}`, error).with({ hint })
  }
  try {
    return JSON.parse(text)
  } catch (error) {
    throw badPlan(`${file} is not JSON`, error)
  }
}

async function fileText(path: string, option: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    throw unreadable(option, error)
  }
}

function unreadable(option: string, error: unknown): UsageError {
  const why = error instanceof Error ? error.message : String(error)
  return new UsageError(`${option}: the file cannot be read: ${why}`, { cause: error })
}
