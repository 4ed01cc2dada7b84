/** The times in which the event loop of this process stood still. */

const TICK_MILLIS = 20
/** Timers of a loop that runs are late by less. */
const LEAST_MILLIS = 10

export interface Stall {
  readonly from: number
  readonly to: number
  /** How long this thread worked meanwhile; for the rest of it the machine gave it no processor. */
  readonly workedMillis: number
}

export class Stalls {
  readonly #all: Stall[] = []

  /** Watches from now on, without keeping the process alive. */
  watch(): void {
    let last = performance.now()
    let worked = process.threadCpuUsage()
    setInterval(() => {
      const now = performance.now()
      const { user, system } = process.threadCpuUsage(worked)
      this.note({ from: last + TICK_MILLIS, to: now, workedMillis: (user + system) / 1000 })
      last = now
      worked = process.threadCpuUsage()
    }, TICK_MILLIS).unref()
  }

  note(stall: Stall): void {
    if (stall.to - stall.from >= LEAST_MILLIS) this.#all.push(stall)
  }

  /** For how long of this time the loop stood still, a stall that has not been noticed yet excepted. */
  during(from: number, to: number): number {
    return this.#all.reduce((sum, stall) => sum + Math.max(0, Math.min(to, stall.to) - Math.max(from, stall.from)), 0)
  }

  /** In words. */
  get longest(): string {
    const [longest] = [...this.#all].sort((a, b) => b.to - b.from - (a.to - a.from))
    if (longest === undefined) return 'none'
    const millis = longest.to - longest.from
    const worked = Math.min(millis, longest.workedMillis)
    const why = worked < millis / 2 ? 'the machine gave this thread no processor' : 'this thread was working'
    return `${Math.round(millis)} ms, with ${Math.round(worked)} ms of work: ${why}`
  }
}
