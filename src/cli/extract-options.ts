/** The options of `poolsmith extract`, and the options of an extract that they stand for. */

import { readFile } from 'node:fs/promises'
import { WRITE_MODES, type WriteMode } from '../extract/files/day-folder.ts'
import { EXTRACT_FORMATS, type ExtractFormat } from '../extract/formats.ts'
import type { FormatOptions, SelectOptions, WatermarkOptions } from '../extract/options.ts'
import { DECIMAL_FORMS, type DecimalForm, type ExtractSource } from '../extract/read/table.ts'
import { PARQUET_COMPRESSIONS, type ParquetCompression } from '../extract/sinks/format.ts'
import { type Call, type CommandOption, UsageError } from './command.ts'
import { parseColumnNames, parseTableName } from './names.ts'
import { INDEX_VARIABLES, unreadable } from './plan-file.ts'

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
  'as-bytes': {
    type: 'string',
    value: 'A,B,...',
    description: 'Read these columns as bytes, for text that is not in the encoding that the database says.',
  },
  decimals: {
    type: 'string',
    value: 'FORM',
    description:
      'Decimals of 39 to 76 digits: text, or wide for decimals of 256 bits, which few readers take. Default: text.',
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
  concurrency: {
    type: 'string',
    value: 'N',
    description: 'The most parts to read at the same time. Default: as many as the pool has connections.',
  },
  'partition-by': { type: 'string', value: 'COLUMN', description: 'Divide by ranges of this column.' },
  'row-hash': { type: 'boolean', description: 'Add _row_hash, the SHA-256 of each row.' },
  'guard-formulas': {
    type: 'boolean',
    description: "CSV: write ' before text that a spreadsheet would take for a formula.",
  },
  mode: {
    type: 'string',
    value: 'MODE',
    description:
      "What happens to the day's earlier extracts, at the end of a run or with --finish: append writes beside them, " +
      'overwrite replaces them in one step, error fails where there is one. Default: append.',
  },
  compression: {
    type: 'string',
    value: 'NAME',
    description: `Parquet: one of ${PARQUET_COMPRESSIONS.join(', ')}. Default: zstd.`,
  },
  'row-group-bytes': {
    type: 'string',
    value: 'N',
    description: 'Parquet: end a row group after so many bytes, encoded but not compressed. Default: 67108864.',
  },
  'batch-rows': { type: 'string', value: 'N', description: 'The most rows of a record batch. Default: 32768.' },
  'batch-bytes': {
    type: 'string',
    value: 'N',
    description: 'End a record batch after so many bytes of the server. Default: 8388608.',
  },
  'extracted-at': {
    type: 'string',
    value: 'TIME',
    description:
      'The logical date, in _extracted_at and in the path: 2024-03-31, or with a time and its zone. Default: now.',
  },
  'no-resume': { type: 'boolean', description: 'Do not go on where a run in parts has failed today.' },
  'no-one-snapshot': {
    type: 'boolean',
    description: 'SQL Server: let each session read its parts at its own moment.',
  },
  plan: {
    type: 'string',
    value: 'FILE',
    description:
      'Write the plan of the parts to this file, and read nothing. A plan that is there already is kept if it is of ' +
      'the same request (and, without --extracted-at, of the same day).',
  },
  'new-plan': { type: 'boolean', description: 'With --plan: make a new plan in any case.' },
  hold: { type: 'boolean', description: 'With --plan: keep its snapshot open until Ctrl-C.' },
  partition: {
    type: 'string',
    value: 'FILE#K',
    description:
      'Read part K (from 0) of the plan in this file (- for standard input), which says all but the connection and ' +
      '--to. Without #K the part is that of --index, or of the number in the environment ' +
      `(${INDEX_VARIABLES.join(', ')}).`,
  },
  index: {
    type: 'string',
    value: 'K|K/N',
    description:
      'With --partition FILE: read part K; or, as process K of N, every Nth part from K. There may be fewer parts.',
  },
  wait: {
    type: 'string',
    value: 'SECONDS',
    description: 'With --partition: wait so long while another process reads the part. Default: 0.',
  },
  finish: {
    type: 'string',
    value: 'FILE',
    description: 'Check that all parts of the plan in this file are complete below --to, and write one manifest.',
  },
  progress: {
    type: 'boolean',
    description: 'Under --json: write progress and warnings to standard error where it is no terminal too.',
  },
  source: {
    type: 'string',
    value: 'NAME',
    description: "The source's name in the path and in _source. Default: the connection's id, else its database.",
  },
} as const satisfies Record<string, CommandOption>

type Name = keyof typeof EXTRACT_OPTIONS

/** The use of a plan by the command; without one it extracts a table. */
export type Mode = 'table' | 'plan' | 'partition' | 'finish'

/** The options that each of them takes beside those of all commands. A plan decides what its parts are. */
const TAKEN: Readonly<Record<Exclude<Mode, 'table'>, readonly Name[]>> = {
  plan: [],
  partition: ['partition', 'index', 'wait', 'to', 'progress'],
  finish: ['finish', 'to', 'mode'],
}
/** Options that go with one of them only. */
const OF_PLANS: Readonly<Partial<Record<Name, readonly Mode[]>>> = {
  hold: ['plan'],
  'new-plan': ['plan'],
  index: ['partition'],
  wait: ['partition'],
  mode: ['table', 'finish'],
}

/** @throws UsageError for options that do not go together */
export function modeOf(call: Call): Mode {
  const mode = (['partition', 'finish', 'plan'] as const).find((name) => textOption(call, name) !== undefined)
  const given = (Object.keys(EXTRACT_OPTIONS) as Name[]).filter((name) => call.values[name] !== undefined)
  const astray = given.find((name) => OF_PLANS[name]?.includes(mode ?? 'table') === false)
  if (astray === 'mode') throw new UsageError('--mode is for a run and for --finish, and not for a plan or a part.')
  if (astray !== undefined) throw new UsageError(`--${astray} goes with --${OF_PLANS[astray]}.`)
  if (mode !== 'partition' && mode !== 'finish') return mode ?? 'table'
  const beside = given.find((name) => !TAKEN[mode].includes(name))
  if (beside !== undefined) throw new UsageError(`--${mode} takes ${beside} from the plan; leave --${beside} out.`)
  if (call.positionals.length > 1) throw new UsageError(`--${mode} takes the table from the plan; leave it out.`)
  return mode
}

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

/** Of `--wait`, in milliseconds. */
export function waitOption(call: Call): number | undefined {
  const given = textOption(call, 'wait')
  if (given === undefined) return undefined
  if (!/^\d{1,7}(\.\d{1,3})?$/.test(given)) throw new UsageError(`--wait expects seconds from 0, got ${given}.`)
  return Math.round(Number(given) * 1000)
}

export function selectOptions(call: Call): SelectOptions & FormatOptions {
  const where = textOption(call, 'where')
  return {
    format: formatOf(call.values['format']),
    signal: call.signal,
    source: textOption(call, 'source'),
    columns: columnsOption(call, 'columns'),
    asText: columnsOption(call, 'as-text'),
    asBytes: columnsOption(call, 'as-bytes'),
    decimals: decimalsOf(textOption(call, 'decimals')),
    // A question mark in the text is not a place for a value.
    where: where === undefined ? undefined : (query) => query.whereRaw(where.replaceAll('?', '\\?')),
    watermark: watermarkOption(call),
    partitions: wholeOption(call, 'partitions'),
    concurrency: wholeOption(call, 'concurrency'),
    partitionBy: textOption(call, 'partition-by'),
    oneSnapshot: call.values['no-one-snapshot'] === true ? false : undefined,
    extractedAt: instantOption(textOption(call, 'extracted-at')),
    batchRows: wholeOption(call, 'batch-rows'),
    batchBytes: wholeOption(call, 'batch-bytes'),
    compression: compressionOf(textOption(call, 'compression')),
    rowGroupBytes: wholeOption(call, 'row-group-bytes'),
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

function wholeOption(call: Call, name: Name): number | undefined {
  const given = textOption(call, name)
  if (given === undefined) return undefined
  if (!/^[1-9]\d{0,14}$/.test(given)) throw new UsageError(`--${name} expects a whole number from 1, got ${given}.`)
  return Number(given)
}

export function modeOption(call: Call): WriteMode | undefined {
  const value = textOption(call, 'mode')
  return value === undefined ? undefined : oneOf('mode', WRITE_MODES, value)
}

function oneOf<Word extends string>(option: Name, words: readonly Word[], value: unknown): Word {
  const found = words.find((word) => word === value)
  if (found === undefined) throw new UsageError(`--${option} expects one of ${words.join(', ')}, got ${value}.`)
  return found
}

function formatOf(value: string | boolean | undefined): ExtractFormat {
  return value === undefined ? 'parquet' : oneOf('format', EXTRACT_FORMATS, value)
}

/** ISO 8601: a day (its beginning in UTC), or a time with its zone; Airflow's `ts` is one. Digits below a millisecond are cut off. */
const INSTANT = /^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:?\d{2}))?$/

function instantOption(given: string | undefined): Date | undefined {
  if (given === undefined) return undefined
  const instant = new Date(INSTANT.test(given) ? given.replace(' ', 'T') : Number.NaN)
  // JavaScript takes 31 February for a day of March.
  const isReal = new Date(`${given.slice(0, 10)}T00:00Z`).toJSON()?.slice(0, 10) === given.slice(0, 10)
  if (Number.isNaN(instant.getTime()) || !isReal) {
    throw new UsageError(`--extracted-at expects 2024-03-31 or 2024-03-31T23:59:59Z (or +02:00), got ${given}.`)
  }
  return instant
}

function decimalsOf(given: string | undefined): DecimalForm | undefined {
  return given === undefined ? undefined : oneOf('decimals', DECIMAL_FORMS, given)
}

function compressionOf(given: string | undefined): ParquetCompression | undefined {
  return given === undefined ? undefined : oneOf('compression', PARQUET_COMPRESSIONS, given)
}

async function fileText(path: string, option: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    throw unreadable(option, error)
  }
}
