/** knex's `client.pool` from `initialize()` until another pool has been made: nothing is open, and no caller waits in it. */
export class OpeningPool {
  destroyed = false

  numFree(): number {
    return 0
  }

  numUsed(): number {
    return 0
  }

  numPendingAcquires(): number {
    return 0
  }
}
