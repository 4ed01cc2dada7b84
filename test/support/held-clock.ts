/** Holds the timers and the clock of one test, so that time passes only when the test says so. */

import type { TestContext } from 'node:test'

export interface HeldClock {
  /** Milliseconds since an arbitrary start: hand it to what takes a clock. */
  readonly now: () => number
  /** Lets time pass in small steps; what became due, and everything that follows from it, has happened after it. */
  advance(millis: number, stepMillis?: number): Promise<void>
}

/** Lets every promise that can settle without time passing do so. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
}

export function holdClock(t: TestContext): HeldClock {
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'], now: 1_700_000_000_000 })
  return {
    now: () => Date.now() - 1_700_000_000_000,
    async advance(millis, stepMillis = 50) {
      await settled()
      for (let left = millis; left > 0; left -= stepMillis) {
        t.mock.timers.tick(Math.min(left, stepMillis))
        await settled()
      }
    },
  }
}
