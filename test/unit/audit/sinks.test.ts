/** Loggers and functions as sinks of the audit log, and the context of the caller. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import {
  type AuditEvent,
  type AuditFacts,
  openAuditLog,
  openTelemetryLogs,
  withAuditContext,
} from '../../../src/audit/index.ts'

const READ: AuditFacts = { kind: 'secret', action: 'read', place: 'a', outcome: 'success' }

test('a logger is called as pino is, and under required its flush is waited for', async () => {
  const calls: unknown[] = []
  const logger = {
    info: (event: AuditEvent, message: string) => void calls.push([event.event, event['place'], message]),
    flush: (done: (error?: Error) => void) => {
      calls.push('flush')
      setTimeout(() => {
        calls.push('flushed')
        done()
      }, 1)
    },
  }
  await openAuditLog({ logger }).record(READ)
  await openAuditLog({ logger, mode: 'required' }).record(READ)
  assert.deepEqual(calls, [['secret', 'a', 'audit'], ['secret', 'a', 'audit'], 'flush', 'flushed'])
})

test('a sink that fails is told as such under on, and fails the caller under required', async () => {
  for (const sink of [
    () => {
      throw new Error('no collector')
    },
    () => Promise.reject(new Error('no collector')),
  ]) {
    const failures: unknown[] = []
    const on = openAuditLog({ sink })
    on.onFailure((error, lost) => failures.push([error.message, lost]))
    await on.record(READ)
    await setImmediate()
    const message = 'The audit log could not be written to the function: no collector.'
    assert.deepEqual(failures, [[message, 1]])
    const required = openAuditLog({ sink, mode: 'required' })
    required.onFailure(() => undefined)
    await assert.rejects(required.record(READ), { code: 'AUDIT_FAILED', message })
  }
})

test('off writes nothing', async () => {
  const log = openAuditLog({ sink: () => assert.fail('called'), mode: 'off' })
  await log.record(READ)
  await log.close()
})

test('the context of the caller is kept through awaits, added to inside, and bounded', async () => {
  const events: AuditEvent[] = []
  const log = openAuditLog({ sink: (event) => void events.push(event) })
  await withAuditContext({ requestId: 'r', endUser: 'ann\n\u001b[2J', tenant: 7 }, async () => {
    await setImmediate()
    await withAuditContext({ endUser: 'bob', note: 'x'.repeat(5000) }, () => log.record(READ))
    await log.record(READ)
  })
  await log.record(READ)
  const told = events.map(({ request_id, end_user, context }) => [request_id, end_user, context])
  const long = `${'x'.repeat(1000)}…`
  assert.deepEqual(told, [
    ['r', 'bob', { tenant: 7, note: long }],
    ['r', 'ann \\x1b[2J', { tenant: 7 }],
    [undefined, undefined, undefined],
  ])
})

test('an event becomes a log record of OpenTelemetry, by its names', () => {
  const records: Record<string, unknown>[] = []
  const sink = openTelemetryLogs({ emit: (record) => void records.push(record) })
  sink({
    time: '2026-11-29T10:05:09.123Z',
    event: 'authorization',
    outcome: 'denied',
    code: '42501',
    system: 'postgresql',
    tables: ['payroll'],
    context: { tenant: 7 },
    end_user: 'ann',
  })
  sink({ time: '2026-11-29T10:05:09.123Z', event: 'data_access', outcome: 'success', tables: ['a', 'b'], rows: 2 })
  assert.deepEqual(records, [
    {
      eventName: 'poolsmith.authorization',
      timestamp: Date.UTC(2026, 10, 29, 10, 5, 9, 123),
      severityNumber: 13,
      severityText: 'WARN',
      attributes: {
        'poolsmith.outcome': 'denied',
        'error.type': '42501',
        'db.system.name': 'postgresql',
        'enduser.id': 'ann',
        'poolsmith.context.tenant': 7,
        'db.collection.name': 'payroll',
      },
    },
    {
      eventName: 'poolsmith.data_access',
      timestamp: Date.UTC(2026, 10, 29, 10, 5, 9, 123),
      severityNumber: 9,
      severityText: 'INFO',
      attributes: { 'poolsmith.outcome': 'success', 'db.response.returned_rows': 2, 'poolsmith.tables': ['a', 'b'] },
    },
  ])
})
