/** One extract: the table that is open, its plan, and how a run begins and ends. */

import { PoolsmithError } from '../errors.ts'
import { type Drift, driftIn } from './drift.ts'
import type { DayFolder } from './files/day-folder.ts'
import { columnsFor } from './formats.ts'
import {
  type Manifest,
  type ManifestContent,
  manifestColumns,
  manifestContent,
  type Outcome,
  removeManifest,
  writeManifest,
} from './manifest.ts'
import {
  checkAmounts,
  checkDecimals,
  checkFormat,
  checkInstant,
  checkLocal,
  checkPartitions,
  type FormatOptions,
  type SelectOptions,
} from './options.ts'
import { type ExtractPlan, makePlan, type PlanInput, sourceOf } from './plan.ts'
import { type Progress, ProgressMeter } from './progress.ts'
import { openTable } from './read/open-table.ts'
import type { ExtractEngine, ExtractSource, OpenTable } from './read/table.ts'
import { checkState, readState, saveWatermark, tryState, type WatermarkState } from './watermark-state.ts'

export interface BeginOptions extends SelectOptions, Partial<FormatOptions>, Pick<PlanInput, 'readsApart'> {
  /** Whether the run reads all its parts itself, and so opens sessions for them and moves a state file on. */
  readonly readsAll: boolean
  /** An earlier plan, which is taken when it is of the same request. */
  readonly earlier?: ExtractPlan | undefined
}

/** Disposing it returns the session to the pool. */
export class Run implements AsyncDisposable {
  readonly db: ExtractEngine
  readonly open: OpenTable
  readonly plan: ExtractPlan
  readonly startedAt: Date
  /** The options by which the plan was made; undefined for a plan that came from elsewhere. */
  readonly input: PlanInput | undefined
  /** Ends all that is read; also fired by {@link stop}. */
  readonly signal: AbortSignal
  /** Ends all sessions when one of them fails. */
  readonly stop: AbortController
  readonly #state: WatermarkState | undefined

  private constructor(
    parts: Pick<Run, 'db' | 'open' | 'plan' | 'startedAt' | 'input' | 'signal' | 'stop'>,
    state?: WatermarkState,
  ) {
    this.db = parts.db
    this.open = parts.open
    this.plan = parts.plan
    this.startedAt = parts.startedAt
    this.input = parts.input
    this.signal = parts.signal
    this.stop = parts.stop
    this.#state = state
  }

  /**
   * Checks the options, reads the state file, opens the table and plans on its snapshot.
   *
   * @throws PoolsmithError as {@link extractTable}
   */
  static async begin(db: ExtractEngine, source: ExtractSource, options: BeginOptions): Promise<Run> {
    if (options.format !== undefined) checkFormat(options)
    checkInstant(options.extractedAt)
    const { watermark, readsAll, oneSnapshot = true, earlier, concurrency, batchRows, batchBytes } = options
    checkAmounts({ concurrency, batchRows, batchBytes })
    checkDecimals(options.decimals)
    const partitions = checkPartitions(options.partitions)
    const startedAt = new Date()
    const path = watermark?.state
    if (path !== undefined) checkLocal('watermark.state', path)
    const state = path === undefined ? undefined : await readState(path)
    if (path !== undefined && readsAll) await tryState(path)

    const ends = endsOf(options.signal)
    const sessions = readsAll && oneSnapshot ? Math.min(partitions, concurrency ?? partitions) : 1
    const open = await openTable(db, source, {
      ...options,
      signal: ends.signal,
      sessions,
      markColumn: watermark?.column,
    })
    try {
      checkState(state, path, open)
      const instead = state === undefined ? undefined : watermark?.after
      const input = {
        ...options,
        startedAt,
        partitions,
        watermark: watermark && { ...watermark, after: state?.watermark ?? watermark.after, instead },
      }
      const plan = await makePlan(db, open, input, earlier)
      return new Run({ db, open, plan, startedAt, input, ...ends }, state)
    } catch (error) {
      await open[Symbol.asyncDispose]()
      throw error
    }
  }

  /**
   * Opens the table of a plan that was made before, and checks that it is still the one that was planned for.
   *
   * @throws PoolsmithError TABLE_CHANGED, SNAPSHOT_GONE, and as {@link extractTable}
   */
  static async ofPlan(db: ExtractEngine, plan: ExtractPlan, signal: AbortSignal | undefined): Promise<Run> {
    const startedAt = new Date()
    const ends = endsOf(signal)
    const { options, snapshot, fingerprint } = plan
    const open = await openTable(db, sourceOf(plan), { ...options, snapshot, fingerprint, signal: ends.signal })
    try {
      await checkTable(open, plan)
      return new Run({ db, open, plan, startedAt, input: undefined, ...ends })
    } catch (error) {
      await open[Symbol.asyncDispose]()
      throw error
    }
  }

  meter(onProgress: ((progress: Progress) => void) | undefined, plan = this.plan): ProgressMeter {
    return new ProgressMeter(onProgress, plan.estimatedRows)
  }

  /** For one partition of the plan: the partitions are of about the same size. */
  partMeter(onProgress: ((progress: Progress) => void) | undefined): ProgressMeter {
    const { estimatedRows, partitions } = this.plan
    return new ProgressMeter(onProgress, estimatedRows && Math.ceil(estimatedRows / partitions.length))
  }

  /** Compares the columns with those of the last manifest, and awaits `onDrift`. */
  drift(folder: string, onDrift: ((drift: Drift) => unknown) | undefined): Promise<Drift | undefined> {
    const { batchId, schema, table } = this.plan
    return driftIn(folder, { batchId, schema, table, columns: manifestColumns(this.plan) }, onDrift)
  }

  /**
   * Ends a run whose files are complete: writes the manifest, makes the files the day's, and then moves the state on. If
   * one of these fails, none stays.
   *
   * @param plan that of an earlier run, when it went on with that one's files
   * @param name of the manifest's file
   */
  async publish(day: DayFolder, outcome: RunOutcome, plan = this.plan, name?: string): Promise<Manifest> {
    const manifest = await writeManifest(day, this.#content(plan, outcome), name)
    try {
      await day.commit(plan.batchId)
      await this.#saveState(plan)
      return manifest
    } catch (error) {
      await day.rollback()
      await removeManifest(day, manifest)
      throw error
    }
  }

  /** Ends a run whose rows a consumer has taken: moves the state on. */
  async conclude(outcome: RunOutcome): Promise<ManifestContent> {
    const content = this.#content(this.plan, outcome)
    await this.#saveState(this.plan)
    return content
  }

  #content(plan: ExtractPlan, outcome: RunOutcome): ManifestContent {
    return manifestContent(plan, { ...outcome, startedAt: this.startedAt })
  }

  async #saveState(plan: ExtractPlan): Promise<void> {
    const path = this.input?.watermark?.state
    if (path !== undefined) await saveWatermark(path, plan, this.#state)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.open[Symbol.asyncDispose]()
  }
}

export type RunOutcome = Omit<Outcome, 'startedAt'>

function endsOf(signal: AbortSignal | undefined): Pick<Run, 'signal' | 'stop'> {
  const stop = new AbortController()
  return { stop, signal: signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]) }
}

/** The table may have been altered since the plan was made, or its rows may have moved. */
async function checkTable(open: OpenTable, plan: ExtractPlan): Promise<void> {
  const { table } = await open.fingerprint()
  if (table !== plan.fingerprint.table) throw changed('was dropped and created again since', open)
  const columns = await columnsFor(open, plan.format)
  if (JSON.stringify(columns) !== JSON.stringify(plan.columns)) throw changed('has other columns or types than', open)
  if (!plan.byPlace) return
  const now = await open.plan({ where: undefined, watermark: undefined, partitions: 1, partitionBy: undefined })
  if (now.identity !== plan.identity) throw changed('was rewritten since', open)
}

function changed(what: string, { schema, table }: OpenTable): PoolsmithError {
  return new PoolsmithError(`${schema}.${table} ${what} the plan.`, {
    code: 'TABLE_CHANGED',
    phase: 'query',
    hint: 'Plan again, and run all partitions of the new plan.',
    details: { schema, table },
  })
}
