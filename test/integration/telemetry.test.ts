/** `poolsmith/telemetry` with OpenTelemetry's SDK, in a process of its own: the program of examples/telemetry. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { postgresSide } from '../support/sides/postgres.ts'
import type { SideKind } from '../support/sides/side.ts'
import { sqlServerSide } from '../support/sides/sqlserver.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const FOLDER = join(ROOT, 'examples', 'telemetry')
const PRELOAD = ['self-import.ts', 'telemetry/preload.ts'].map((file) => `--import=${join(ROOT, 'test/support', file)}`)

interface Told {
  readonly spans: readonly {
    readonly name: string
    readonly kind: number
    readonly attributes: Readonly<Record<string, unknown>>
    readonly parent?: string
    readonly failed: boolean
  }[]
  readonly metrics: readonly {
    readonly name: string
    readonly unit: string
    readonly points: readonly { readonly attributes: Readonly<Record<string, unknown>>; readonly value: number }[]
  }[]
}

async function tell(kind: SideKind): Promise<Told & { readonly port: number }> {
  await using side = await kind.start()
  const env = {
    PATH: process.env.PATH,
    DATABASE: JSON.stringify(side.connection),
  }
  const { stdout } = await promisify(execFile)(process.execPath, [...PRELOAD, join(FOLDER, 'print.mjs')], {
    cwd: FOLDER,
    env,
    timeout: 60_000,
  })
  return { ...(JSON.parse(stdout) as Told), port: side.connection.port as number }
}

for (const kind of [postgresSide, sqlServerSide]) {
  test(`${kind.name}: spans of statements and openings, none of the pool's own work, and metrics`, async () => {
    const { spans, metrics, port } = await tell(kind)
    const system = kind === postgresSide ? 'postgresql' : 'microsoft.sql_server'
    const statements = spans.filter(({ attributes }) => attributes['db.query.text'] !== undefined)
    assert.deepEqual(
      statements.map(({ name, parent, failed }) => [name, parent, failed]),
      [
        ['SELECT', 'request', false],
        ['SELECT', 'request', false],
        ['SELECT', 'request', true],
        ['SELECT', 'request', false],
      ],
    )
    assert.equal(statements[1]?.attributes['db.query.text'], 'select ? as text')
    assert.equal(statements[0]?.attributes['db.system.name'], system)
    assert.equal(statements[0]?.attributes['server.port'], port)
    const failure = statements[2]?.attributes ?? {}
    assert.match(String(failure['error.type']), kind === postgresSide ? /^42703$/ : /^\d+$/)
    assert.equal(failure['error.type'], failure['db.response.status_code'])

    const connects = spans.filter(({ name }) => name.startsWith('connect ') && name !== 'connect')
    assert.ok(connects.length >= 1)
    for (const one of connects) {
      assert.equal(one.parent, undefined, 'a session is not born in the trace of a request')
      assert.equal(one.attributes['poolsmith.credential.kind'], 'password')
      assert.equal(one.attributes['db.client.connection.pool.name'], 'sales')
    }
    assert.ok(spans.some(({ name, parent }) => name === 'login' && parent === connects[0]?.name))
    assert.ok(spans.some(({ name, parent }) => name === 'acquire' && parent === 'request'))
    assert.ok(!JSON.stringify(spans).includes('a secret'))

    const registry = createRequire(join(FOLDER, 'package.json'))('@opentelemetry/semantic-conventions/incubating')
    const known = new Set(Object.values(registry as Record<string, unknown>))
    for (const { name } of metrics) assert.ok(known.has(name), `${name} is a metric of the conventions`)
    for (const { attributes } of spans) {
      for (const name of Object.keys(attributes)) {
        assert.ok(known.has(name) || name.startsWith('poolsmith.'), `${name} is an attribute of the conventions`)
      }
    }
    const units = Object.fromEntries(metrics.map(({ name, unit }) => [name, unit]))
    assert.deepEqual(units, {
      'db.client.operation.duration': 's',
      'db.client.connection.create_time': 's',
      'db.client.connection.wait_time': 's',
      'db.client.connection.use_time': 's',
      'db.client.connection.count': '{connection}',
      'db.client.connection.max': '{connection}',
      'db.client.connection.pending_requests': '{request}',
    })
    const valuesOf = (name: string): number[] | undefined =>
      metrics.find((metric) => metric.name === name)?.points.map(({ value }) => value)
    assert.deepEqual(valuesOf('db.client.connection.max'), [2])
    assert.equal(
      valuesOf('db.client.operation.duration')?.reduce((sum, count) => sum + count),
      4,
    )
  })
}

interface InstrumentedSpan {
  readonly name: string
  readonly scope: string
  readonly text?: string
  readonly parent?: string
}

for (const [kind, instrumentation] of [
  [postgresSide, '@opentelemetry/instrumentation-pg'],
  [sqlServerSide, '@opentelemetry/instrumentation-tedious'],
] as const) {
  test(`${kind.name}: beside ${instrumentation} each statement has one span, and the pool's own work none`, async () => {
    await using side = await kind.start()
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [...PRELOAD, join(ROOT, 'test', 'support', 'telemetry', 'instrumented.mjs')],
      { env: { PATH: process.env.PATH, DATABASE: JSON.stringify(side.connection) }, timeout: 60_000 },
    )
    const spans = JSON.parse(stdout) as InstrumentedSpan[]
    const statements = spans.filter(({ text }) => text !== undefined)
    assert.deepEqual(
      statements.map(({ scope, parent }) => [scope, parent]),
      [
        [instrumentation, 'request'],
        [instrumentation, 'request'],
      ],
      JSON.stringify(spans),
    )
    assert.equal(spans.filter(({ scope }) => scope === instrumentation).length, 2, JSON.stringify(spans))
    assert.ok(spans.some(({ name, parent }) => name.startsWith('connect ') && parent === undefined))
  })
}
