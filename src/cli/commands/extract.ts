import { once } from 'node:events'
import { access } from 'node:fs/promises'
import { basename, dirname, resolve } from 'node:path'
import { errorCode } from '../../any-error.ts'
import { PoolsmithError } from '../../errors.ts'
import { extractPartition } from '../../extract/extract-partition.ts'
import { extractTable } from '../../extract/extract-table.ts'
import { TargetFile } from '../../extract/files/target-file.ts'
import { finishPlan } from '../../extract/finish-plan.ts'
import type { Manifest } from '../../extract/manifest.ts'
import { checkLocal } from '../../extract/options.ts'
import type { ExtractPlan } from '../../extract/plan.ts'
import { planExtract } from '../../extract/plan-extract.ts'
import type { Call, Command, Outcome } from '../command.ts'
import {
  EXTRACT_OPTIONS,
  modeOf,
  modeOption,
  requiredTarget,
  selectOptions,
  sourceOption,
  textOption,
  waitOption,
} from '../extract-options.ts'
import { manifestOutcome, withEngine } from '../extract-report.ts'
import { bytes, count, rows } from '../layout.ts'
import { inFile, readPlan, type Share, shareOf } from '../plan-file.ts'
import { CONNECTION_ARGUMENT, STORE_OPTIONS, TIMEOUT_OPTION } from '../shared-options.ts'

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
        'The table or view, as the catalogue spells it; the schema may be left out. With --partition and --finish ' +
        'the plan names it.',
      optional: true,
    },
  ],
  options: { ...EXTRACT_OPTIONS, ...TIMEOUT_OPTION, ...STORE_OPTIONS },
  saysTryAgain: true,
  run: extract,
}

function extract(call: Call): Promise<Outcome> {
  return { table: wholeTable, plan: planTable, partition: readShare, finish }[modeOf(call)](call)
}

async function wholeTable(call: Call): Promise<Outcome> {
  const source = await sourceOption(call)
  const options = selectOptions(call)
  const to = requiredTarget(call)
  return withEngine(call, call.positionals[1] ?? '', async (db, { bar, onProgress, onDrift }) => {
    const started = performance.now()
    const resume = call.values['no-resume'] !== true
    const files = { to, mode: modeOption(call), resume, onDrift }
    const manifest = await extractTable(db, source, { ...options, ...files, ...onProgress }).finally(() => bar.clear())
    return manifestOutcome(manifest, started, call)
  })
}

async function readShare(call: Call): Promise<Outcome> {
  const to = requiredTarget(call)
  const waitMillis = waitOption(call)
  const share = await shareOf(call, textOption(call, 'partition') ?? '')
  const { plan, file, numbers } = share
  if (numbers.length === 0) return nothingToRead(share)
  const label = `${plan.schema}.${plan.table} #${numbers.join(',')}`
  return withEngine(call, label, async (db, { bar, onProgress, onDrift }) => {
    const started = performance.now()
    const options = { to, waitMillis, signal: call.signal, onDrift, ...onProgress }
    const parts: Manifest[] = []
    for (const number of numbers) {
      const part = inFile(file, () => extractPartition(db, plan, number, options))
      parts.push(await part.finally(() => bar.clear()))
    }
    const [part] = parts
    return share.isOne && part !== undefined ? manifestOutcome(part, started, call) : partsOutcome(share, parts)
  })
}

function nothingToRead({ plan, file }: Share): Outcome {
  const { length } = plan.partitions
  return {
    data: { rows: 0, bytes: 0, files: [], batchId: plan.batchId, partitions: length },
    text: `${file} has ${count(length)} partitions, and none for this process.`,
  }
}

function partsOutcome({ plan }: Share, parts: readonly Manifest[]): Outcome {
  const sum = (amount: (part: Manifest) => number): number => parts.reduce((all, part) => all + amount(part), 0)
  const total = { rows: sum((part) => part.rows), bytes: sum((part) => part.bytes) }
  const lines = parts.map((part): [string, string] => [
    `partition ${part.partition?.number}`,
    `${count(part.rows)} rows, ${part.path}`,
  ])
  return {
    data: { ...total, batchId: plan.batchId, parts },
    text: `${plan.schema}.${plan.table}: ${count(total.rows)} rows, ${bytes(total.bytes)}\n${rows(lines, Number.POSITIVE_INFINITY)}`,
  }
}

async function finish(call: Call): Promise<Outcome> {
  const started = performance.now()
  const to = requiredTarget(call)
  const file = textOption(call, 'finish') ?? ''
  const plan = await readPlan(call, file, '--finish')
  return manifestOutcome(await inFile(file, () => finishPlan(plan, { to, mode: modeOption(call) })), started, call)
}

async function planTable(call: Call): Promise<Outcome> {
  const file = textOption(call, 'plan') ?? ''
  checkLocal('--plan', file)
  const source = await sourceOption(call)
  const options = selectOptions(call)
  const holdSnapshot = call.values['hold'] === true
  const path = resolve(file)
  const isForced = holdSnapshot || call.values['new-plan'] === true
  return withEngine(call, call.positionals[1] ?? '', async (db, { say }) => {
    const earlier = isForced ? undefined : await planThere(call, path)
    const { promise: lost, reject: onSnapshotLost } = Promise.withResolvers<never>()
    // Awaited below, when the plan is written.
    lost.catch(() => undefined)
    await using plan = await planExtract(db, source, { ...options, holdSnapshot, onSnapshotLost, earlier })
    const kept = plan.batchId === earlier?.batchId
    if (!kept) await writePlan(plan, path)
    const outcome = planOutcome(plan, path, kept, call)
    if (!holdSnapshot) return outcome
    say(`${outcome.text}; its snapshot is held until Ctrl-C`)
    if (!call.signal.aborted) await Promise.race([once(call.signal, 'abort'), lost])
    return { data: outcome.data, text: 'The snapshot was released.' }
  })
}

/** The plan that is there already; undefined for none, and for one that cannot be used, which is replaced. */
async function planThere(call: Call, path: string): Promise<ExtractPlan | undefined> {
  try {
    await access(path)
    return await readPlan(call, path, '--plan')
  } catch (error) {
    const isUnusable = error instanceof PoolsmithError && error.code === 'PLAN_INVALID'
    if (isUnusable || errorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

async function writePlan(plan: ExtractPlan, path: string): Promise<void> {
  const name = basename(path)
  // A temporary name of its own, so that neither a leftover of a killed planner nor another planner is in its way.
  const temporaryName = `.${name}.${plan.batchId}.tmp`
  // It holds SQL, which runs with the rights of the role that reads a part: only this user may write it.
  await using target = await TargetFile.create(dirname(path), name, { temporaryName, mode: 0o600 })
  await target.write(Buffer.from(`${JSON.stringify(plan, undefined, 2)}\n`))
  await target.finish()
}

function planOutcome(plan: ExtractPlan, path: string, kept: boolean, { terminal }: Call): Outcome {
  const { batchId, partitions, notes, plannedAt } = plan
  const head = `${plan.schema}.${plan.table}: ${count(partitions.length)} partitions in ${path}`
  const of = kept ? `, the plan of ${plannedAt} (--new-plan makes another)` : ''
  const lines = notes.map((note): [string, string] => ['note', note])
  return {
    data: { plan: path, partitions: partitions.length, batchId, plannedAt, kept, notes },
    text: [head + of, ...(lines.length === 0 ? [] : [rows(lines, terminal.out.width)])].join('\n'),
  }
}
