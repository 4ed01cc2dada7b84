/** The messages of `poolsmith extract` while it runs, and its report at the end. */

import { createEngine, type Engine } from '../engine/knex/create-engine.ts'
import type { Drift } from '../extract/drift.ts'
import type { Manifest } from '../extract/manifest.ts'
import { printable } from '../printable.ts'
import type { Call, Outcome } from './command.ts'
import { bytes, count, duration, rows } from './layout.ts'
import { type Notice, noticeListeners } from './notices.ts'
import { ProgressBar } from './progress.ts'
import { storesOf, timeoutOf } from './shared-options.ts'

export interface Reporting {
  readonly bar: ProgressBar
  readonly onProgress: { readonly onProgress?: (progress: Parameters<ProgressBar['update']>[0]) => void }
  readonly onDrift: (drift: Drift) => void
  readonly say: (message: string) => void
}

/** Under --json the warnings are in the answer; they and the progress are printed on a terminal, or where asked for. */
export async function withEngine(
  call: Call,
  label: string,
  work: (db: Engine, reporting: Reporting) => Promise<Outcome>,
): Promise<Outcome> {
  const { log } = call.terminal
  const bar = new ProgressBar(log, label)
  const quiet = call.values['json'] === true && call.values['progress'] !== true && !log.isTTY
  const warnings: Notice[] = []
  call.facts['warnings'] = warnings
  const say = (message: string): void => {
    if (quiet) return
    bar.clear()
    log.line(log.style('yellow', printable(message)))
  }
  await using db = await createEngine(call.positionals[0] ?? '', {
    ...timeoutOf(call),
    stores: storesOf(call),
    on: noticeListeners((notice) => {
      warnings.push(notice)
      say(`${notice.kind} warning: ${notice.message}`)
    }, log),
  })
  const onDrift = (drift: Drift): void => {
    call.facts['drift'] = drift
    say(`the columns have changed: ${driftText(drift)}`)
  }
  return await work(db, {
    bar,
    say,
    onDrift,
    onProgress: quiet ? {} : { onProgress: (progress) => bar.update(progress) },
  })
}

function driftText({ added, removed, retyped, reordered }: Drift): string {
  return [
    ...added.map(({ name, type }) => `+ ${name} ${type}`),
    ...removed.map(({ name, type }) => `- ${name} ${type}`),
    ...retyped.map(({ name, from, to }) => `${name}: ${from} -> ${to}`),
    ...(reordered ? ['another order'] : []),
  ].join(', ')
}

/** The manifest names them all. */
const FILES_SHOWN = 32

export function manifestOutcome(manifest: Manifest, started: number, { terminal }: Call): Outcome {
  const screen = terminal.out
  const { schema, table, files, notes, path, watermark } = manifest
  const elapsedMillis = performance.now() - started
  const head = `${schema}.${table}: ${count(manifest.rows)} rows, ${bytes(manifest.bytes)} in ${duration(elapsedMillis)}`
  const lines: [string, string][] = [
    ['folder', manifest.folder],
    ...files.slice(0, FILES_SHOWN).map((file): [string, string] => ['file', file.name]),
    ...(files.length > FILES_SHOWN
      ? [['', `and ${count(files.length - FILES_SHOWN)} more files`] as [string, string]]
      : []),
    ['manifest', path],
    ...(watermark === undefined ? [] : [['watermark', `${watermark.column} ${watermark.high}`] as [string, string]]),
    ...notes.map((note): [string, string] => ['note', note]),
  ]
  return { data: { ...manifest }, text: [screen.style('green', printable(head)), rows(lines, screen.width)].join('\n') }
}
