/**
 * How every suite measures: many short rounds of both sides in turn, and medians. The ratio is the median of the
 * rounds' own ratios, because a busy machine slows both sides of a round alike.
 */

export interface Result {
  readonly name: string
  readonly ours: number
  readonly peer: number
  readonly unit: string
  /** Median of `ours / peer` over the rounds. */
  readonly ratio: number
  /** The greatest permitted ratio. */
  readonly bound: number
  readonly met: boolean
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

/** The first round of each side warms up and does not count. */
export async function compare(comparison: Comparison): Promise<Result> {
  const { name, unit, bound, rounds } = comparison
  const ours: number[] = []
  const peer: number[] = []
  for (let round = 0; round <= rounds; round++) {
    // The sides take turns at being first, so that garbage and warm caches affect both.
    const sides = [
      async () => ours.push(await comparison.ours()),
      async () => peer.push(await comparison.peer()),
    ] as const
    for (const side of round % 2 === 0 ? sides : sides.toReversed()) await side()
  }
  ours.shift()
  peer.shift()
  const ratio = round(median(ours.map((value, index) => value / (peer[index] ?? Number.NaN))))
  return { name, ours: round(median(ours)), peer: round(median(peer)), unit, ratio, bound, met: ratio <= bound }
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

function round(value: number): number {
  return Number(value.toPrecision(4))
}
