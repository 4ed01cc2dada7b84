import { createEngine } from '../../engine/create-engine.ts'
import { EXTRACT_FORMATS, type ExtractFormat, extractTable } from '../../extract/extract-table.ts'
import type { Manifest } from '../../extract/manifest.ts'
import { type Call, type Command, type Outcome, UsageError } from '../command.ts'
import { bytes, count, duration, rows } from '../layout.ts'
import { noticeListeners } from '../notices.ts'
import { ProgressBar } from '../progress.ts'
import { CONNECTION_ARGUMENT, STORE_OPTIONS, storesOf, TIMEOUT_OPTION, timeoutOf } from '../shared-options.ts'
import { parseTableName } from '../table-name.ts'
import type { Screen } from '../terminal.ts'

export const extractCommand: Command = {
  name: 'extract',
  summary: 'Copy a table into files.',
  description:
    'Writes DIR/<source>/<schema>.<table>/extract_date=YYYY-MM-DD/ with a manifest; a file appears only when it is ' +
    'whole. Progress goes to standard error: a bar on a terminal, a line every few seconds elsewhere.',
  positionals: [
    CONNECTION_ARGUMENT,
    { name: 'schema.table', description: 'The table or view, as the catalogue spells it; the schema may be left out.' },
  ],
  options: {
    to: {
      type: 'string',
      value: 'DIR',
      description: 'The folder to write below; made when it is not there. Required.',
    },
    format: { type: 'string', value: 'FORMAT', description: `One of ${EXTRACT_FORMATS.join(', ')}. Default: parquet.` },
    columns: { type: 'string', value: 'A,B,...', description: 'The columns to read. Default: all.' },
    source: {
      type: 'string',
      value: 'NAME',
      description: "The source's name in the path and in _source. Default: the connection's id, else its database.",
    },
    ...TIMEOUT_OPTION,
    ...STORE_OPTIONS,
  },
  run: extract,
}

async function extract(call: Call): Promise<Outcome> {
  const { positionals, values, signal, terminal } = call
  const [input = '', tableText = ''] = positionals
  const table = parseTableName(tableText)
  const to = text(values['to'])
  if (to === undefined) throw new UsageError('--to is missing: the folder to write below.')
  const source = text(values['source'])
  const columns = text(values['columns'])

  const { log } = terminal
  const bar = new ProgressBar(log, tableText)
  const quiet = values['json'] === true && !log.isTTY
  await using db = await createEngine(input, {
    ...timeoutOf(call),
    stores: storesOf(call),
    on: noticeListeners(({ kind, message }) => {
      if (quiet) return
      bar.clear()
      log.line(log.style('yellow', `${kind} warning: ${message}`))
    }),
  })
  const started = performance.now()
  let manifest: Manifest
  try {
    manifest = await extractTable(db, table, {
      to,
      format: formatOf(values['format']),
      signal,
      ...(source === undefined ? {} : { source }),
      ...(columns === undefined ? {} : { columns: columns.split(',') }),
      ...(quiet ? {} : { onProgress: (progress) => bar.update(progress) }),
    })
  } finally {
    bar.clear()
  }
  return { data: { ...manifest }, text: textOf(manifest, performance.now() - started, terminal.out) }
}

function text(value: string | boolean | undefined): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

function formatOf(value: string | boolean | undefined): ExtractFormat {
  if (value === undefined) return 'parquet'
  const found = EXTRACT_FORMATS.find((format) => format === value)
  if (found === undefined) throw new UsageError(`--format expects one of ${EXTRACT_FORMATS.join(', ')}, got ${value}.`)
  return found
}

function textOf(manifest: Manifest, elapsedMillis: number, screen: Screen): string {
  const { schema, table, files, notes, path } = manifest
  const head = `${schema}.${table}: ${count(manifest.rows)} rows, ${bytes(manifest.bytes)} in ${duration(elapsedMillis)}`
  return [
    screen.style('green', head),
    rows(
      [
        ['folder', manifest.folder],
        ...files.map((file): [string, string] => ['file', file.name]),
        ['manifest', path],
        ...notes.map((note): [string, string] => ['note', note]),
      ],
      screen.width,
    ),
  ].join('\n')
}
