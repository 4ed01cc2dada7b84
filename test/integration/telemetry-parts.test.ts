/** `poolsmith/telemetry` with OpenTelemetry's SDK, in a process of its own: what belongs to what. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { postgresSide } from '../support/sides/postgres.ts'
import { sqlServerSide } from '../support/sides/sqlserver.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const PRELOAD = ['self-import.ts', 'telemetry/preload.ts'].map((file) => `--import=${join(ROOT, 'test/support', file)}`)

interface Told {
  readonly spans: readonly {
    readonly name: string
    readonly attributes: Readonly<Record<string, unknown>>
    readonly parent?: string
  }[]
  readonly metrics: readonly {
    readonly name: string
    readonly points: readonly { readonly keys: readonly (readonly [string, unknown])[]; readonly value: unknown }[]
  }[]
}

for (const kind of [postgresSide, sqlServerSide]) {
  test(`${kind.name}: an extract and an opening have their statements, a procedure its name, and an ended pool no connections`, async () => {
    await using side = await kind.start()
    const isPostgres = kind === postgresSide
    const table = isPostgres ? { schema: 'public', table: 'marks' } : { schema: 'dbo', table: 'marks' }
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [...PRELOAD, join(ROOT, 'test', 'support', 'telemetry', 'parts.mjs')],
      {
        env: {
          PATH: process.env.PATH,
          SERVICE: JSON.stringify({ connection: side.connection, setUp: kind.setUp, table }),
        },
        timeout: 60_000,
      },
    )
    const { spans, metrics } = JSON.parse(stdout) as Told

    const extract = `extract ${table.schema}.${table.table}`
    assert.equal(spans.find(({ name }) => name === extract)?.parent, 'request')
    const statements = spans.filter(({ attributes }) => attributes['db.query.text'] !== undefined)
    assert.deepEqual(
      statements.filter(({ parent }) => parent === 'request').map(({ name }) => name),
      ['SELECT'],
    )
    assert.ok(statements.filter(({ parent }) => parent === extract).length > 0, JSON.stringify(spans))
    const preparing = statements.filter(({ parent }) => parent === 'query').map(({ attributes }) => attributes)
    const texts = [...new Set(preparing.map((attributes) => attributes['db.query.text']))]
    assert.deepEqual(texts, isPostgres ? ['select ? as n', 'begin'] : ['select ? as n'])
    const others = statements.filter(({ parent }) => parent !== extract && parent !== 'request' && parent !== 'query')
    assert.deepEqual(others, [])

    const procedures = spans.filter(({ attributes }) => attributes['db.stored_procedure.name'] !== undefined)
    assert.deepEqual(
      procedures.map(({ name, parent }) => [name, parent]),
      isPostgres ? [] : [['EXECUTE close_day', 'request']],
    )

    for (const { name, points } of metrics) {
      for (const { keys } of points) {
        for (const [key, value] of keys) assert.ok(value !== null, `${name}: ${key} has no value`)
      }
    }
    for (const state of ['count', 'max', 'pending_requests']) {
      const points = metrics.find(({ name }) => name === `db.client.connection.${state}`)?.points ?? []
      assert.deepEqual([...new Set(points.map(({ value }) => value))], [0], state)
    }
  })
}

test('beside @opentelemetry/instrumentation-knex and its hook for ES modules a statement of knex has its span', async () => {
  await using side = await postgresSide.start()
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [...PRELOAD, join(ROOT, 'test', 'support', 'telemetry', 'knex-hook.mjs')],
    { env: { PATH: process.env.PATH, DATABASE: JSON.stringify(side.connection) }, timeout: 60_000 },
  )
  const spans = JSON.parse(stdout) as [string, Readonly<Record<string, unknown>>][]
  assert.deepEqual(
    spans.map(([scope]) => scope),
    ['@opentelemetry/instrumentation-knex', 'service'],
  )
  const { host, port, database } = side.connection
  const place = ['server.address', 'server.port', 'db.namespace'].map((key) => spans[0]?.[1][key])
  assert.deepEqual(place, [host, port, database])
})
