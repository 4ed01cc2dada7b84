/**
 * How every suite measures: many short rounds of both sides in turn, and medians. The ratio is the median of the
 * rounds' own ratios, because a busy machine slows both sides of a round alike. Its spread is the 95 % confidence
 * interval of that median; while the spread covers the bound, the rounds are repeated, up to three times as many.
 */

export interface Result {
  readonly name: string
  readonly ours: number
  readonly peer: number
  readonly unit: string
  /** Median of `ours / peer` over the rounds. */
  readonly ratio: number
  /** The least and the greatest value that the ratio has with a confidence of 95 %, where rounds were compared. */
  readonly spread?: Spread
  /** The greatest permitted ratio. */
  readonly bound: number
  readonly met: boolean
  /** Set if nothing was measured: the program or package that the machine lacks. */
  readonly missing?: string
}

export type Spread = readonly [least: number, greatest: number]

/** Whether the bound is met; `undecided` when the spread covers it. */
export function verdictOf({ spread, bound, met, missing: lacks }: Result): string {
  if (lacks !== undefined) return `missing: ${lacks}`
  if (spread !== undefined && spread[0] <= bound && bound < spread[1]) return 'undecided'
  return met ? 'met' : 'NOT MET'
}

/** The options of the command line; each suite reads those that concern it. */
export interface SuiteOptions {
  /** Rows of the table that is extracted. */
  readonly rows?: number | undefined
  /** Also run the much longer parts. */
  readonly long?: boolean
}

export interface Comparison {
  readonly name: string
  readonly unit: string
  readonly bound: number
  readonly rounds: number
  /** Measures one round and gives its figure in `unit`. */
  readonly ours: () => Promise<number>
  readonly peer: () => Promise<number>
}

/** Times that the rounds are run before a result stays undecided. */
export const MOST_REPETITIONS = 3

/** The first round of each side warms up and does not count. */
export async function compare(comparison: Comparison): Promise<Result> {
  const { name, unit, bound, rounds } = comparison
  const ours: number[] = []
  const peer: number[] = []
  const both = async (round: number): Promise<void> => {
    // The sides take turns at being first, so that garbage and warm caches affect both.
    const sides = [
      async () => ours.push(await comparison.ours()),
      async () => peer.push(await comparison.peer()),
    ] as const
    for (const side of round % 2 === 0 ? sides : sides.toReversed()) await side()
  }
  await both(0)
  ours.shift()
  peer.shift()
  for (let repetition = 0; ; repetition++) {
    for (let round = 1; round <= rounds; round++) await both(round)
    const result = compared({ name, unit, bound, ours, peer })
    if (verdictOf(result) !== 'undecided' || repetition + 1 === MOST_REPETITIONS) return result
  }
}

/** The result of rounds that have been measured; both sides have one figure for each round. */
export function compared(rounds: {
  readonly name: string
  readonly unit: string
  readonly bound: number
  readonly ours: readonly number[]
  readonly peer: readonly number[]
}): Result {
  const { name, unit, bound, ours, peer } = rounds
  const ratios = ours.map((value, index) => value / (peer[index] ?? Number.NaN))
  const ratio = rounded(median(ratios))
  const spread = spreadOf(ratios)
  const [mine, theirs] = [rounded(median(ours)), rounded(median(peer))]
  return { name, ours: mine, peer: theirs, unit, ratio, spread, bound, met: ratio <= bound }
}

/** The 95 % confidence interval of a median, by the ranks of the values around it (normal approximation). */
function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b)
  const reach = 0.98 * Math.sqrt(sorted.length)
  const at = (rank: number): number =>
    rounded(sorted[Math.min(sorted.length - 1, Math.max(0, Math.round(rank)))] ?? Number.NaN)
  const middle = (sorted.length - 1) / 2
  return [at(middle - reach), at(middle + reach)]
}

/** A comparison with a program that the machine lacks. */
export function missing(name: string, what: string): Result {
  return { name, ours: Number.NaN, peer: Number.NaN, unit: '', ratio: Number.NaN, bound: 1, met: true, missing: what }
}

/** A figure that must have an exact value, such as a count. */
export function exactly(name: string, unit: string, ours: number, wanted: number): Result {
  const ratio = ours === wanted ? 1 : ours / wanted
  return { name, ours, peer: wanted, unit, ratio, bound: 1, met: ours === wanted }
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2
}

function rounded(value: number): number {
  return Number(value.toPrecision(4))
}
