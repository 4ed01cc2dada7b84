/** The figures of the soak: calls, failures by cause, faults, the longest wait for a connection, memory. */

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Side } from './sides.ts'
import { Stalls } from './stalls.ts'

/** After an outage attempts that began in it may still fail. */
const AFTERMATH_MILLIS = 3000
const FAULTS_SHOWN = 20
/** The tolerance of an acquire's limit for late timers, besides the stalls of the event loop. */
const LATENESS_MILLIS = 200
const MEBIBYTE = 1 << 20

interface Outage {
  readonly side: Side
  readonly from: number
  to: number
}

/** When an acquire was asked for and answered. */
interface Acquire {
  readonly from: number
  readonly to: number
}

interface Sample {
  readonly seconds: number
  readonly heap: number
  readonly memory: number
}

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

export class Tally {
  readonly #done = new Map<string, number>()
  readonly #failed = new Map<string, number>()
  readonly #faults: string[] = []
  readonly #outages: Outage[] = []
  readonly #samples: Sample[] = []
  readonly #stalls = new Stalls()
  readonly #limitMillis: number
  readonly #late: Acquire[] = []
  #longest: Acquire = { from: 0, to: 0 }
  #largestDifference = 0

  done(side: Side, name: string): void {
    increase(this.#done, `${side.name}: ${name}`)
  }

  /** An expected failure. */
  failed(side: Side, cause: string): void {
    increase(this.#failed, `${side.name}: ${cause}`)
  }

  /** Something that must not happen. */
  fault(what: string): void {
    this.#faults.push(what)
  }

  /** The server is down while `work` runs. */
  async away(side: Side, work: () => Promise<void>): Promise<void> {
    const outage = { side, from: performance.now(), to: Number.POSITIVE_INFINITY }
    this.#outages.push(outage)
    await work()
    outage.to = performance.now() + AFTERMATH_MILLIS
  }

  /** Whether the server was down at some time since. */
  wasAway(side: Side, since: number): boolean {
    return this.#outages.some((outage) => outage.side === side && outage.to >= since)
  }

  /** @param limitMillis of an acquire */
  constructor(limitMillis: number) {
    this.#limitMillis = limitMillis
    this.#stalls.watch()
  }

  /** An acquire was answered just now. */
  acquired(from: number): void {
    const acquire = { from, to: performance.now() }
    if (lasted(acquire) > lasted(this.#longest)) this.#longest = acquire
    if (lasted(acquire) > this.#limitMillis + LATENESS_MILLIS) this.#late.push(acquire)
  }

  /** Counts the acquires that were answered late although the event loop ran; to be called a moment after the last one. */
  judgeLate(): void {
    for (const acquire of this.#late) {
      const { late, stalled } = this.#lateness(acquire)
      if (late - stalled > LATENESS_MILLIS) {
        this.fault(
          `an acquire was answered ${late} ms after its limit, while the event loop stood still for ${stalled} ms`,
        )
      }
    }
  }

  /** How long after its limit an acquire was answered, and how much of that the event loop stood still. */
  #lateness({ from, to }: Acquire): { readonly late: number; readonly stalled: number } {
    const limit = from + this.#limitMillis
    return { late: Math.round(to - limit), stalled: Math.round(this.#stalls.during(limit, to)) }
  }

  counted(atServer: number, inPool: number): void {
    this.#largestDifference = Math.max(this.#largestDifference, Math.abs(atServer - inPool))
  }

  sample(): void {
    collect()
    const { heapUsed, rss } = process.memoryUsage()
    this.#samples.push({ seconds: performance.now() / 1000, heap: heapUsed, memory: rss })
  }

  /** Prints the figures. True when no fault was counted. */
  report(): boolean {
    for (const [title, counts] of [
      ['Calls that succeeded', this.#done],
      ['Calls that failed with their session or while the server was away', this.#failed],
    ] as const) {
      const total = [...counts.values()].reduce((sum, count) => sum + count, 0)
      console.log(`\n${title}: ${total}`)
      for (const [name, count] of [...counts].sort(([a], [b]) => a.localeCompare(b))) console.log(`  ${count}  ${name}`)
    }
    // In the first fifth caches and pools fill up.
    const settled = this.#samples.slice(Math.floor(this.#samples.length / 5))
    const [last] = settled.slice(-1)
    console.log(`\nHeap: ${show(last?.heap)}, slope ${slope(settled, 'heap')} MiB a minute`)
    console.log(`Memory: ${show(last?.memory)}, slope ${slope(settled, 'memory')} MiB a minute`)
    console.log(`Largest difference between the server's count of sessions and the pool's: ${this.#largestDifference}`)
    const { late, stalled } = this.#lateness(this.#longest)
    const why = late > 0 ? `; the event loop stood still for ${stalled} of the last ${late} ms` : ''
    console.log(
      `Latest acquire: ${Math.round(lasted(this.#longest))} ms of ${this.#limitMillis} ms (pool_timeout)${why}`,
    )
    console.log(`Longest stall of the event loop: ${this.#stalls.longest}`)
    console.log(`Faults: ${this.#faults.length}`)
    for (const fault of this.#faults.slice(0, FAULTS_SHOWN)) console.log(`  ${fault}`)
    return this.#faults.length === 0
  }
}

function lasted({ from, to }: Acquire): number {
  return to - from
}

function increase(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1)
}

function show(bytes = 0): string {
  return `${(bytes / MEBIBYTE).toFixed(1)} MiB`
}

/** By least squares. */
function slope(samples: readonly Sample[], of: 'heap' | 'memory'): string {
  const count = samples.length
  if (count < 2) return '?'
  const meanX = samples.reduce((sum, { seconds }) => sum + seconds, 0) / count
  const meanY = samples.reduce((sum, sample) => sum + sample[of], 0) / count
  let above = 0
  let below = 0
  for (const sample of samples) {
    above += (sample.seconds - meanX) * (sample[of] - meanY)
    below += (sample.seconds - meanX) ** 2
  }
  return ((above / below / MEBIBYTE) * 60).toFixed(2)
}
