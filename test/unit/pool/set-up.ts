import type { TestContext } from 'node:test'
import type { CloseReason } from '../../../src/events.ts'
import type { PoolOptions } from '../../../src/pool/options.ts'
import { ConnectionPool, type ConnectionPoolConfig } from '../../../src/pool/pool.ts'
import { type FakeConnection, FakeDriver, FakeSource } from '../../support/fake-driver.ts'
import { type HeldClock, holdClock, settled } from '../../support/held-clock.ts'

export interface Setup {
  readonly pool: ConnectionPool<FakeConnection>
  readonly driver: FakeDriver
  readonly source: FakeSource
  readonly clock: HeldClock
  /** Number and reason of every connection that was closed. */
  readonly closed: [number, CloseReason][]
}

/** A pool over a fake driver under a held clock; it is destroyed after the test. */
export function setUp(
  t: TestContext,
  options: PoolOptions = {},
  more: Partial<ConnectionPoolConfig<FakeConnection>> & { source?: FakeSource; driver?: FakeDriver } = {},
): Setup {
  const clock = holdClock(t)
  const { driver = new FakeDriver(), source = new FakeSource() } = more
  const pool = new ConnectionPool({ now: clock.now, random: () => 0, ...more, driver, source, options })
  const closed: [number, CloseReason][] = []
  pool.on('connection:closed', ({ id, reason }) => closed.push([id, reason]))
  t.after(async () => {
    // A timer of this test's clock that is cleared under the next one's would take another with it.
    let ended = false
    void pool.destroy().then(() => {
      ended = true
    })
    while (!ended) await clock.advance(1000, 1000)
    await settled()
  })
  return { pool, driver, source, clock, closed }
}

/** Starts an acquire and keeps what comes of it, with the time of the answer. */
export function attempt(
  { pool, clock }: Setup,
  options?: { readonly signal?: AbortSignal },
): { raw?: FakeConnection; error?: Error & { code?: string; phase?: string }; at?: number } {
  const outcome: ReturnType<typeof attempt> = {}
  pool.acquire(options).promise.then(
    (raw) => Object.assign(outcome, { raw, at: clock.now() }),
    (error) => Object.assign(outcome, { error, at: clock.now() }),
  )
  return outcome
}
