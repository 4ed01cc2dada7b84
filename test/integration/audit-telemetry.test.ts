/** The audit log as log records of OpenTelemetry, by its own SDK, in a process of its own: examples/telemetry. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { parseConnection, toAirflowUri } from '../../src/index.ts'
import { postgresSide } from '../support/sides/postgres.ts'
import { sqlServerSide } from '../support/sides/sqlserver.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const FOLDER = join(ROOT, 'examples', 'telemetry')
const PRELOAD = ['self-import.ts', 'telemetry/preload.ts'].map((file) => `--import=${join(ROOT, 'test/support', file)}`)

type Facts = Readonly<Record<string, unknown>>

interface Told {
  readonly events: readonly (Facts & { readonly event: string; readonly time: string })[]
  readonly records: readonly {
    readonly eventName: string
    readonly severityNumber: number
    readonly severityText: string
    readonly attributes: Facts
    readonly time: string
    readonly scope: string
  }[]
}

for (const kind of [postgresSide, sqlServerSide]) {
  test(`${kind.name}: each event is one log record of the SDK, under the names of the conventions`, async () => {
    await using side = await kind.start()
    const env = { PATH: process.env['PATH'], DATABASE: toAirflowUri(parseConnection(side.connection)) }
    const program = join(FOLDER, 'print-audit.mjs')
    const run = promisify(execFile)(process.execPath, [...PRELOAD, program], { cwd: FOLDER, env, timeout: 60_000 })
    const { events, records } = JSON.parse((await run).stdout) as Told

    assert.equal(records.length, events.length)
    for (const [at, { event, time, ...facts }] of events.entries()) {
      const record = records[at]
      assert.ok(record)
      const isGood = facts['outcome'] !== 'failure' && facts['outcome'] !== 'denied'
      assert.deepEqual(
        [record.eventName, record.time, record.severityNumber, record.severityText, record.scope],
        [`poolsmith.${event}`, time, ...(isGood ? [9, 'INFO'] : [13, 'WARN']), 'poolsmith'],
      )
      // The SDK drops what its data model does not take.
      const { tables: _tables, context, ...plain } = facts
      const told = { ...plain, ...(context as object) }
      assert.equal(Object.keys(record.attributes).length, Object.keys(told).length, JSON.stringify(record))
    }
    const of = (name: string, outcome: string) =>
      records.find(({ eventName, attributes }) => eventName === name && attributes['poolsmith.outcome'] === outcome)
        ?.attributes ?? {}
    const statement = of('poolsmith.data_access', 'success')
    assert.deepEqual(
      [statement['enduser.id'], statement['poolsmith.request_id'], statement['poolsmith.context.team']],
      ['ann', 'r-17', 'etl'],
    )
    const system = kind === postgresSide ? 'postgresql' : 'microsoft.sql_server'
    assert.deepEqual(
      [statement['db.system.name'], statement['db.operation.name'], statement['db.response.returned_rows']],
      [system, 'select', 1],
    )
    assert.match(String(of('poolsmith.data_access', 'failure')['error.type']), /^(42703|\d+)$/)
    assert.equal(of('poolsmith.authentication', 'failure')['error.type'], 'LOGIN_REFUSED')
    const registry = createRequire(join(FOLDER, 'package.json'))('@opentelemetry/semantic-conventions/incubating')
    const known = new Set(Object.values(registry as Record<string, unknown>))
    for (const { attributes } of records) {
      for (const name of Object.keys(attributes)) {
        assert.ok(name.startsWith('poolsmith.') || known.has(name), `${name} is an attribute of the conventions`)
      }
    }
  })
}
