/** A statement with more bindings than the database takes is refused before it is sent. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createEngine, PoolsmithError } from '../../../src/index.ts'
import { postgresSide } from '../../support/sides/postgres.ts'
import type { SideKind } from '../../support/sides/side.ts'
import { sqlServerSide } from '../../support/sides/sqlserver.ts'

const LIMITS: Readonly<Record<string, number>> = { PostgreSQL: 65_535, 'SQL Server': 2098 }

for (const kind of [postgresSide, sqlServerSide] as readonly SideKind[]) {
  const limit = LIMITS[kind.name] as number

  test(`${kind.name}: ${limit} bindings are sent, one more is refused by name, batchInsert inserts all`, async () => {
    await using side = await kind.start()
    await using db = await createEngine(side.connection, { pool_size: 1, max_overflow: 0 })
    await db.raw(kind.setUp)
    const rows = (count: number): { n: number }[] => Array.from({ length: count }, (_, n) => ({ n }))
    await db('marks').insert(rows(limit))
    const sent: string[] = []
    db.on('query', ({ sql }: { sql: string }) => sent.push(sql))
    const refused = (error: unknown): boolean => {
      assert.ok(error instanceof PoolsmithError)
      assert.deepEqual([error.code, error.phase, error.details.limit], ['TOO_MANY_BINDINGS', 'query', limit])
      assert.match(error.message, new RegExp(`has ${limit + 1} bindings, and .* at most (65535|2100)`))
      assert.ok(error.message.length < 200)
      assert.match(error.hint ?? '', /batchInsert/)
      return true
    }
    await assert.rejects(
      db('marks')
        .insert(rows(limit + 1))
        .then(),
      refused,
    )
    await assert.rejects(async () => {
      for await (const _ of db('marks')
        .whereIn(
          'n',
          rows(limit + 1).map(({ n }) => n),
        )
        .stream());
    }, refused)
    assert.deepEqual(sent, [])
    await db.batchInsert('marks', rows(limit + 1), 1000)
    assert.equal(Number((await db('marks').count('* as n').first())?.n), limit + limit + 1)
    assert.equal(db.pool.stats().counts.opened, 1)
  })
}
