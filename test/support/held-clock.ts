/** Holds the timers and the clock of one test, so that time passes only when the test says so. */

import type { TestContext } from 'node:test'

export interface HeldClock {
  /** Milliseconds since an arbitrary start: pass it wherever a clock is an argument. */
  readonly now: () => number
  /** Advances time in small steps, and resolves after the due timers and their consequences have run. */
  advance(millis: number, stepMillis?: number): Promise<void>
}

/** Lets every promise settle that needs no time to pass. */
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
