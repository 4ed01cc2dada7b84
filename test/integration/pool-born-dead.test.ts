import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createEngine } from '../../src/engine/knex/create-engine.ts'
import { PoolsmithError } from '../../src/errors.ts'
import { errorResponse } from '../support/fake-postgres.ts'
import { startMiddle, type Tamper } from '../support/middle.ts'
import { postgresSide } from '../support/sides/postgres.ts'
import type { SideKind } from '../support/sides/side.ts'
import { sqlServerSide } from '../support/sides/sqlserver.ts'

const CALLERS = 5

interface Case {
  readonly kind: SideKind
  readonly extra: Readonly<Record<string, unknown>>
  /** Lets the login pass and ends the session in the packet of its last answer. */
  readonly endAtLogin: Tamper
  readonly words: RegExp
}

const READY = Buffer.from('Z\0\0\0\x05I', 'latin1')
const SHUTDOWN = errorResponse({ C: '57P01', M: 'terminating connection due to administrator command' })
/** The token that the answer to a session's first statements begins with (MS-TDS 2.2.7.6); others begin the login's. */
const DONE = 0xfd
const PACKET_HEADER_BYTES = 8

const cases: readonly Case[] = [
  {
    kind: postgresSide,
    extra: {},
    endAtLogin: (chunk) => (chunk.includes(READY) ? { last: Buffer.concat([chunk, SHUTDOWN]) } : [chunk]),
    words: /terminating connection due to administrator command/,
  },
  {
    kind: sqlServerSide,
    extra: { encrypt: 'false' },
    endAtLogin: (chunk) => (chunk[PACKET_HEADER_BYTES] === DONE ? { last: chunk } : [chunk]),
    words: /closed|ended/,
  },
]

for (const { kind, extra, endAtLogin, words } of cases) {
  test(`${kind.name}: a session that the server ends in the packet of its login is never handed out and counts as a failed opening`, async () => {
    await using side = await kind.start()
    await using middle = await startMiddle(side.connection.port as number)
    await using db = await createEngine(
      { ...side.connection, port: middle.port, extra: { ...(side.connection.extra as object), ...extra } },
      { pool_size: CALLERS, max_overflow: 0, pool_timeout: 10 },
    )
    const pass = middle.toClient
    middle.toClient = endAtLogin
    const failures: PoolsmithError[] = []
    db.pool.on('connection:failed', ({ error }) => failures.push(error))
    const outcomes = await Promise.allSettled(Array.from({ length: CALLERS }, () => db.pool.acquire().promise))
    for (const outcome of outcomes) {
      assert.equal(outcome.status, 'rejected', 'a dead session was handed out')
      const { reason: error } = outcome
      assert.ok(error instanceof PoolsmithError, String(error))
      assert.deepEqual([error.code, error.phase, error.transient], ['CONNECTION_CLOSED', 'login', true])
      assert.match(error.message, words)
    }
    const { counts, total } = db.pool.stats()
    assert.deepEqual([counts.opened, counts.acquired, total], [0, 0, 0])
    assert.ok(failures.length > 0)
    assert.equal(counts.failed, failures.length)

    middle.toClient = pass
    assert.equal(await db.pool.use((raw) => side.run(raw, 'select 1 as n')), 1)
  })
}
