/** Plans of an extract on the command line: where they come from, and which of their parts a process reads. */

import { realpath } from 'node:fs/promises'
import { text as textOf } from 'node:stream/consumers'
import { onAbort, orAbort } from '../abort.ts'
import { errorText } from '../any-error.ts'
import { PoolsmithError } from '../errors.ts'
import { badPlan, checkPartition, parsePlan } from '../extract/check-plan.ts'
import { readOwnText } from '../extract/files/own-files.ts'
import type { ExtractPlan } from '../extract/plan.ts'
import { printable } from '../printable.ts'
import { DistrustedFile } from '../private-file.ts'
import { type Call, UsageError } from './command.ts'

/** The name that stands for standard input. */
const STDIN = '-'

/** Variables in which schedulers tell a process its number among its like, from 0. */
export const INDEX_VARIABLES = [
  'JOB_COMPLETION_INDEX',
  'AWS_BATCH_JOB_ARRAY_INDEX',
  'CLOUD_RUN_TASK_INDEX',
  'SLURM_ARRAY_TASK_ID',
] as const

/** The parts of a plan that this process reads. */
export interface Share {
  readonly plan: ExtractPlan
  /** For messages. */
  readonly file: string
  readonly numbers: readonly number[]
  /** Whether it was asked for as one part, by its number; else as every Nth part. */
  readonly isOne: boolean
}

/**
 * The share of `--partition FILE#K`; or of `--partition FILE` with `--index`, or with the number that a scheduler gives
 * to this process.
 */
export async function shareOf(call: Call, given: string): Promise<Share> {
  const [, named, mark] = /^(.+)#([^/#]*)$/.exec(given) ?? []
  const index = typeof call.values['index'] === 'string' ? call.values['index'] : undefined
  const file = named ?? given
  if (mark !== undefined) {
    if (!/^\d{1,15}$/.test(mark)) throw new UsageError(`--partition expects FILE#K with K from 0, got ${given}.`)
    if (index !== undefined) throw new UsageError('Give --partition FILE#K, or --partition FILE and --index.')
    const plan = await readPlan(call, file, '--partition')
    const number = Number(mark)
    await inFile(file, async () => checkPartition(plan, number))
    return { plan, file, numbers: [number], isOne: true }
  }
  const share = index === undefined ? shareIn(call.environment) : readShare(index, '--index')
  if (share === undefined) {
    const known = INDEX_VARIABLES.join(', ')
    throw new UsageError(
      `--partition expects FILE#K; or FILE with --index, or with one of ${known} in the environment.`,
    )
  }
  const plan = await readPlan(call, file, '--partition')
  const all = [...plan.partitions.keys()]
  if (share.of === undefined)
    return { plan, file, numbers: all.filter((number) => number === share.index), isOne: true }
  const { index: first, of } = share
  return { plan, file, numbers: all.filter((number) => number % of === first), isOne: false }
}

interface Numbered {
  readonly index: number
  /** The number of processes that divide the parts among them; undefined where each part has a process of its own. */
  readonly of?: number
}

function readShare(given: string, name: string): Numbered {
  const [, index, of] = /^(\d{1,9})(?:\/([1-9]\d{0,8}))?$/.exec(given) ?? []
  if (index === undefined || (of !== undefined && Number(index) >= Number(of))) {
    const forms = name === '--index' ? 'K or K/N with K from 0 to N-1' : 'a whole number from 0'
    throw new UsageError(`${name} expects ${forms}, got ${JSON.stringify(given)}.`)
  }
  return of === undefined ? { index: Number(index) } : { index: Number(index), of: Number(of) }
}

function shareIn(environment: Call['environment']): Numbered | undefined {
  const found = INDEX_VARIABLES.flatMap((name) => {
    const value = environment[name]
    return value === undefined || value === '' ? [] : [{ name, value }]
  })
  const [first, ...others] = found
  if (first === undefined) return undefined
  const other = others.find(({ value }) => value !== first.value)
  if (other !== undefined) {
    const both = [first, other].map(({ name, value }) => `${name}=${JSON.stringify(value)}`).join(' and ')
    throw new UsageError(`The environment has ${both}; say by --index which one counts.`)
  }
  if (!/^\d+$/.test(first.value)) return readShare('', first.name)
  return readShare(first.value, first.name)
}

/**
 * A plan holds SQL, so no other user may have written its file. A link to it is followed, and the file is checked.
 *
 * @param option for errors
 */
export async function readPlan(call: Call, file: string, option: string): Promise<ExtractPlan> {
  const text = file === STDIN ? await fromStdin(call, option) : await fromFile(file, option)
  return inFile(file, async () => parsePlan(text))
}

async function fromStdin(call: Call, option: string): Promise<string> {
  const { signal } = call
  const input = call.input()
  if (input.isTTY === true) {
    throw new UsageError(`${option} - reads the plan from standard input, which is a terminal here.`)
  }
  // A stream that is read keeps the process alive.
  using _ = onAbort(signal, () => input.destroy())
  try {
    return await orAbort(textOf(input), signal)
  } catch (error) {
    if (signal.aborted) {
      const message = 'Reading the plan from standard input was aborted.'
      throw new PoolsmithError(message, { code: 'ABORTED', phase: 'config', cause: error })
    }
    throw unreadable(option, error)
  }
}

async function fromFile(file: string, option: string): Promise<string> {
  try {
    return await readOwnText(await realpath(file))
  } catch (error) {
    if (!(error instanceof DistrustedFile)) throw unreadable(option, error)
    const hint =
      error.kind === 'mode'
        ? 'If the plan is yours, take that permission away (chmod go-w): a plan holds SQL that is run.'
        : 'Copy the plan into a file of this user if you trust it: a plan holds SQL that is run.'
    return inFile(file, () => Promise.reject(badPlan(`the file ${error.reason}`).with({ hint })))
  }
}

/** Adds the name of the file to the errors about the plan in it. */
export async function inFile<T>(file: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof PoolsmithError) || !error.code.startsWith('PLAN_')) throw error
    const shown = file === STDIN ? 'from standard input' : printable(file)
    const message = error.message.replace('The plan ', `The plan ${shown} `)
    throw error.with({ message, details: { file } })
  }
}

export function unreadable(option: string, error: unknown): UsageError {
  const why = errorText(error)
  return new UsageError(`${option}: the file cannot be read: ${why}`, { cause: error })
}
