import { errorCode } from '../any-error.ts'
import type { ExtractFacts } from '../audit-facts.ts'
import { PoolsmithError } from '../errors.ts'
import { type ExtractTrace, traced } from '../tracing.ts'
import { DayFolder } from './files/day-folder.ts'
import { PartFiles } from './files/part-files.ts'
import { sweep } from './files/sweep.ts'
import { canGoOn, type KeptPart, obstacleTo } from './going-on.ts'
import { readInParallel } from './in-parallel.ts'
import type { Manifest, ManifestContent } from './manifest.ts'
import { intoOneFile } from './one-file.ts'
import { type ConsumeOptions, checkFormat, checkMode, checkTarget, type ExtractOptions } from './options.ts'
import { type ExtractPlan, folderOf, resumeKey } from './plan.ts'
import type { ExtractEngine, ExtractSource } from './read/table.ts'
import { Run } from './run.ts'
import { consumePart, writePart } from './write-part.ts'

export type { ExtractFormat } from './formats.ts'
export type { ExtractOptions } from './options.ts'

/**
 * Copies a table or a query into files below `to`, in bounded memory, and writes a manifest beside them:
 * `<to>/<source>/<schema>.<table>/extract_date=YYYY-MM-DD/part-<batch id>.<format>`.
 *
 * Every row also carries `_extracted_at`, `_source` and `_batch_id`. Files appear under their names only when all of
 * them are complete and on the disk; a failed or aborted run leaves none. Two runs at once do not touch each other's
 * files. `mode` says what happens to earlier extracts of the day. docs/extract.md describes selecting, watermarks, partitions and resuming.
 *
 * With a function as `to`, the rows go to it as record batches instead, with the same columns added.
 *
 * @throws PoolsmithError as {@link readTable}, and CONFIG_INVALID, TARGET_NOT_WRITABLE, TARGET_NOT_TRUSTED, DISK_FULL,
 *   WRITE_FAILED, EXTRACT_EXISTS, WATERMARK_INVALID, STATE_INVALID, STATE_CONFLICT, EXTRACT_INCOMPLETE, SNAPSHOT_UNAVAILABLE;
 *   `details.partition` says which partition failed
 *
 * @example
 * const manifest = await extractTable(db, { schema: 'public', table: 'flights' }, {
 *   to: 'bronze',
 *   format: 'parquet',
 *   where: (query) => query.where('carrier', 'AA'),
 *   watermark: { column: 'updated_at', state: 'state/flights.json' },
 *   partitions: 4,
 * })
 * console.log(manifest.rows, manifest.folder)
 */
export function extractTable(db: ExtractEngine, source: ExtractSource, options: ExtractOptions): Promise<Manifest>
export function extractTable(
  db: ExtractEngine,
  source: ExtractSource,
  options: ConsumeOptions,
): Promise<ManifestContent>
export async function extractTable(
  db: ExtractEngine,
  source: ExtractSource,
  options: ExtractOptions | ConsumeOptions,
): Promise<ManifestContent> {
  return traced(
    'extract',
    () => traceOf(db, source),
    async (trace) => {
      const content = await audited(db, source, () => extract(db, source, options))
      if (trace !== undefined) {
        trace.rows = content.rows
        trace.bytes = bytesOf(content)
      }
      return content
    },
  )
}

/** Does an extract, and tells the audit log of its end. */
async function audited(
  { pool }: ExtractEngine,
  source: ExtractSource,
  work: () => Promise<ManifestContent>,
): Promise<ManifestContent> {
  const begunAt = performance.now()
  const tell = (facts: Omit<ExtractFacts, 'kind' | 'table' | 'durationMillis'>): void => {
    const durationMillis = Math.round(performance.now() - begunAt)
    pool.events?.emit('audit', { kind: 'extract', ...facts, table: tableOf(source), durationMillis })
  }
  try {
    const content = await work()
    tell({ outcome: 'success', rows: content.rows, bytes: bytesOf(content) })
    return content
  } catch (error) {
    tell({ outcome: 'failure', code: errorCode(error) ?? 'UNKNOWN' })
    throw error
  }
}

function bytesOf({ files }: ManifestContent): number {
  return files.reduce((sum, { bytes }) => sum + bytes, 0)
}

/** `schema.table`; undefined for a query. */
function tableOf(source: ExtractSource): string | undefined {
  const { schema, table } = source as { readonly schema?: string; readonly table?: string }
  return schema === undefined ? table : `${schema}.${table}`
}

/** Of one extract, for its trace. */
function traceOf({ connection, pool }: ExtractEngine, source: ExtractSource): ExtractTrace {
  const { type, host, port, database } = connection
  const { name } = pool as { readonly name?: string }
  const system = type === 'postgres' ? 'postgresql' : 'microsoft.sql_server'
  const table = tableOf(source)
  return { poolName: name ?? '', system, host, port, database, table, rows: undefined, bytes: undefined }
}

async function extract(
  db: ExtractEngine,
  source: ExtractSource,
  options: ExtractOptions | ConsumeOptions,
): Promise<ManifestContent> {
  checkTarget(options.to)
  const toFiles = isToFiles(options)
  if (toFiles) {
    checkFormat(options)
    checkMode(options.mode, options.watermark)
  }
  await using run = await Run.begin(db, source, { ...options, readsAll: true })
  // Awaited here, because leaving this function returns the session to the pool.
  if (!toFiles) return await intoConsumer(run, options)
  return await (run.plan.partitions.length === 1 ? intoOneFile(run, options) : intoManyFiles(run, options))
}

function isToFiles(options: ExtractOptions | ConsumeOptions): options is ExtractOptions {
  return typeof options.to === 'string'
}

async function intoConsumer(run: Run, { to: take, onProgress }: ConsumeOptions): Promise<ManifestContent> {
  const { plan, signal } = run
  const meter = run.meter(onProgress)
  const notes: string[] = []
  await readInParallel(run, plan, [...plan.partitions.keys()], async (open, number) => {
    const written = await consumePart({ open, plan, number, count: (rows) => meter.add(rows, 0) }, { take, signal })
    notes.push(...written.notes)
  })
  const content = await run.conclude({ rows: meter.rows, files: [], notes, drift: undefined })
  meter.finish(0)
  return content
}

async function intoManyFiles(run: Run, options: ExtractOptions): Promise<Manifest> {
  const { to, onDrift, onProgress, resume = true, mode = 'append' } = options
  const folder = folderOf(run.plan, to)
  await sweep(folder)
  const key = resumeKey(run.plan, options, run.input?.watermark?.after)
  // A lock in the database, until the session is returned: of two runs at once only one may go on with the files that
  // are there. The folder itself may have several names.
  const isOurs = (await run.open.claim?.(key)) ?? false
  const drift = await run.drift(folder, onDrift)
  await using day = await DayFolder.open(to, folder, mode, run.plan.batchId)
  const place = {
    day,
    key: isOurs ? key : undefined,
    keep: resume && canGoOn(run.plan),
    obstacleTo: async (before: ExtractPlan, kept: readonly KeptPart[]) =>
      resume ? obstacleTo(run.open, before, kept) : '`resume` is false',
  }
  await using parts = await PartFiles.open(place, run.plan, run.signal)
  const { plan } = parts
  const meter = run.meter(onProgress, plan)
  meter.keep(parts.rows, parts.bytes)
  try {
    await readInParallel(run, plan, parts.todo, (open, number) =>
      parts.write(number, (file) =>
        writePart({ open, plan, number, count: (rows) => meter.add(rows, parts.bytes) }, file),
      ),
    )
  } catch (error) {
    throw incomplete(error, parts)
  }
  const { rows, bytes, notes } = parts
  const publish = async (): Promise<Manifest> =>
    run.publish(day, { rows, files: await parts.publish(), notes, drift }, plan)
  const manifest = await publish().catch(async (error: unknown) => {
    await parts.takeBack(error instanceof PoolsmithError && error.code === 'STATE_CONFLICT')
    throw error
  })
  await parts.done()
  meter.finish(bytes)
  return manifest
}

/** Says how many parts are complete, and whether the same call can keep them. */
function incomplete(error: unknown, { whole, plan, isKept }: PartFiles): unknown {
  if (!(error instanceof PoolsmithError) || whole === 0) return error
  if (!isKept) return error.with({ details: { whole } })
  const total = plan.partitions.length
  const hint =
    `${whole} of ${total} partitions are complete; the same call on the same day keeps them ` +
    `${plan.watermark === undefined ? 'if their rows have not changed until then' : 'up to the same mark'}.`
  return error.with({ hint: `${error.hint ?? ''} ${hint}`.trimStart(), details: { whole } })
}
