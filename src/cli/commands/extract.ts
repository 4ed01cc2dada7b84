import { once } from 'node:events'
import { basename, dirname, resolve } from 'node:path'
import { createEngine, type Engine } from '../../engine/knex/create-engine.ts'
import type { Drift } from '../../extract/drift.ts'
import { extractPartition } from '../../extract/extract-partition.ts'
import { extractTable } from '../../extract/extract-table.ts'
import { TargetFile } from '../../extract/files/target-file.ts'
import type { Manifest } from '../../extract/manifest.ts'
import { planExtract } from '../../extract/plan-extract.ts'
import { printable } from '../../printable.ts'
import { type Call, type Command, type Outcome, UsageError } from '../command.ts'
import {
  EXTRACT_OPTIONS,
  partitionOption,
  requiredTarget,
  selectOptions,
  sourceOption,
  textOption,
} from '../extract-options.ts'
import { bytes, count, duration, rows } from '../layout.ts'
import { noticeListeners } from '../notices.ts'
import { ProgressBar } from '../progress.ts'
import { CONNECTION_ARGUMENT, STORE_OPTIONS, storesOf, TIMEOUT_OPTION, timeoutOf } from '../shared-options.ts'
import type { Screen } from '../terminal.ts'

export const extractCommand: Command = {
  name: 'extract',
  summary: 'Copy a table into files.',
  description:
    'Writes DIR/<source>/<schema>.<table>/extract_date=YYYY-MM-DD/ with a manifest; a file appears only when it is ' +
    'whole. Progress goes to standard error: a bar on a terminal, a line every few seconds elsewhere.',
  positionals: [
    CONNECTION_ARGUMENT,
    {
      name: 'schema.table',
      description:
        'The table or view, as the catalogue spells it; the schema may be left out. With --partition the plan names it.',
      optional: true,
    },
  ],
  options: { ...EXTRACT_OPTIONS, ...TIMEOUT_OPTION, ...STORE_OPTIONS },
  run: extract,
}

async function extract(call: Call): Promise<Outcome> {
  const partition = await partitionOption(call)
  if (partition !== undefined) {
    const to = requiredTarget(call)
    const { plan, number } = partition
    return withEngine(call, `${plan.schema}.${plan.table} #${number}`, async (db, { bar, onProgress, onDrift }) => {
      const started = performance.now()
      const { signal } = call
      const options = { to, signal, onDrift, ...onProgress }
      const manifest = await extractPartition(db, plan, number, options).finally(() => bar.clear())
      return manifestOutcome(manifest, started, call.terminal.out)
    })
  }
  const source = await sourceOption(call)
  const options = selectOptions(call)
  const label = call.positionals[1] ?? ''
  const planFile = textOption(call, 'plan')
  if (planFile !== undefined) return withEngine(call, label, (db, { say }) => planInto(planFile, db, call, say))
  if (call.values['hold'] === true) throw new UsageError('--hold goes with --plan: it keeps the snapshot of the plan.')
  const to = requiredTarget(call)
  return withEngine(call, label, async (db, { bar, onProgress, onDrift }) => {
    const started = performance.now()
    const resume = call.values['no-resume'] !== true
    const manifest = await extractTable(db, source, { ...options, to, resume, onDrift, ...onProgress }).finally(() =>
      bar.clear(),
    )
    return manifestOutcome(manifest, started, call.terminal.out)
  })
}

async function planInto(file: string, db: Engine, call: Call, say: (message: string) => void): Promise<Outcome> {
  const holdSnapshot = call.values['hold'] === true
  const { promise: lost, reject: onSnapshotLost } = Promise.withResolvers<never>()
  // Awaited below, when the plan is written.
  lost.catch(() => undefined)
  const options = { ...selectOptions(call), holdSnapshot, onSnapshotLost }
  await using plan = await planExtract(db, await sourceOption(call), options)
  const path = resolve(file)
  const name = basename(path)
  // A temporary name of its own, so that neither a leftover of a killed planner nor another planner is in its way.
  const temporary = `.${name}.${plan.batchId}.tmp`
  // It holds SQL, which runs with the rights of the role that reads a part: only this user may write it.
  await using target = await TargetFile.create(dirname(path), name, { temporaryName: temporary, mode: 0o600 })
  await target.write(Buffer.from(`${JSON.stringify(plan, undefined, 2)}\n`))
  await target.finish()
  const data = { plan: path, partitions: plan.partitions.length, batchId: plan.batchId }
  const text = `${plan.schema}.${plan.table}: ${count(plan.partitions.length)} partitions in ${path}`
  if (!holdSnapshot) return { data, text }
  say(`${text}; its snapshot is held until Ctrl-C`)
  if (!call.signal.aborted) await Promise.race([once(call.signal, 'abort'), lost])
  return { data, text: 'The snapshot was released.' }
}

interface Reporting {
  readonly bar: ProgressBar
  readonly onProgress: { readonly onProgress?: (progress: Parameters<ProgressBar['update']>[0]) => void }
  readonly onDrift: (drift: Drift) => void
  readonly say: (message: string) => void
}

/** Under --json only the answer is printed, and progress only on a terminal. */
async function withEngine(
  call: Call,
  label: string,
  work: (db: Engine, reporting: Reporting) => Promise<Outcome>,
): Promise<Outcome> {
  const { log } = call.terminal
  const bar = new ProgressBar(log, label)
  const quiet = call.values['json'] === true && !log.isTTY
  const say = (message: string): void => {
    if (quiet) return
    bar.clear()
    log.line(log.style('yellow', printable(message)))
  }
  await using db = await createEngine(call.positionals[0] ?? '', {
    ...timeoutOf(call),
    stores: storesOf(call),
    on: noticeListeners(({ kind, message }) => say(`${kind} warning: ${message}`), log),
  })
  const onDrift = (drift: Drift): void => say(`the columns have changed: ${driftText(drift)}`)
  return await work(db, {
    bar,
    say,
    onDrift,
    onProgress: quiet ? {} : { onProgress: (progress) => bar.update(progress) },
  })
}

function driftText({ added, removed, retyped }: Drift): string {
  return [
    ...added.map(({ name, type }) => `+ ${name} ${type}`),
    ...removed.map(({ name, type }) => `- ${name} ${type}`),
    ...retyped.map(({ name, from, to }) => `${name}: ${from} -> ${to}`),
  ].join(', ')
}

function manifestOutcome(manifest: Manifest, started: number, screen: Screen): Outcome {
  const { schema, table, files, notes, path, watermark } = manifest
  const elapsedMillis = performance.now() - started
  const head = `${schema}.${table}: ${count(manifest.rows)} rows, ${bytes(manifest.bytes)} in ${duration(elapsedMillis)}`
  const lines: [string, string][] = [
    ['folder', manifest.folder],
    ...files.map((file): [string, string] => ['file', file.name]),
    ['manifest', path],
    ...(watermark === undefined ? [] : [['watermark', `${watermark.column} ${watermark.high}`] as [string, string]]),
    ...notes.map((note): [string, string] => ['note', note]),
  ]
  return { data: { ...manifest }, text: [screen.style('green', printable(head)), rows(lines, screen.width)].join('\n') }
}
