import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { PoolsmithError } from '../../../src/errors.ts'
import { checkPartition, checkPlan, parsePlan } from '../../../src/extract/check-plan.ts'
import { checksumOf, type ExtractPlan } from '../../../src/extract/plan.ts'

const CONTENT: Omit<ExtractPlan, 'checksum'> = {
  version: 3,
  batchId: '0b8f3e0a-5f0c-4a53-9d3e-2f1f6f0e2a11',
  plannedAt: '2024-03-01T12:00:00.000Z',
  extractedAt: '2024-03-01T12:00:00.000Z',
  source: 'crm',
  fingerprint: { system: '7412/16384', database: 'sales', table: '16390' },
  schema: 'public',
  table: 'flights',
  query: { sql: 'select ?', values: [{ type: 'bigint', value: '1' }] },
  format: 'parquet',
  columns: [{ name: 'id', type: 'integer', arrow: 'Int32', note: 'x' }],
  options: {
    columns: ['id'],
    asText: [],
    asBytes: ['id'],
    decimals: 'wide',
    rowHash: true,
    batchRows: 1,
    batchBytes: 1,
    compression: 'zstd',
  },
  request: 'a'.repeat(64),
  conditions: ['id > 0'],
  watermark: {
    column: 'id',
    type: 'int4',
    high: '9',
    identity: ['id'],
    rows: ['0123456789abcdef'],
    after: '1',
    since: { high: '1', identity: ['id'], rows: ['0123456789ABCDEF'], copies: ['16384(0,1)'] },
    isEmpty: false,
  },
  partitions: [
    { label: 'a', rows: { pages: { from: 0, to: 9 } } },
    { label: 'b', rows: { tables: [{ schema: 's', name: 't', pages: null }] } },
    { label: 'c', rows: { range: { column: 'id', from: null, to: '1' } } },
    { label: 'd', rows: null },
  ],
  byPlace: false,
  identity: '1:2',
  estimatedRows: 0.5,
  notes: ['x'],
}

function planWith(changes: object): string {
  const { snapshot, ...content }: Partial<ExtractPlan> = { ...CONTENT, ...changes }
  return JSON.stringify({ ...content, checksum: checksumOf(content), snapshot })
}

function check(changes: object): void {
  checkPlan(JSON.parse(planWith(changes)))
}

test('a plan with every member is taken, and one without those that may be missing', () => {
  check({})
  check({ query: undefined, watermark: undefined, estimatedRows: undefined, format: 'batches' })
})

test('a member of a wrong form is refused by its path, though the checksum fits', () => {
  const { watermark } = CONTENT
  const part = (rows: unknown): object => ({
    partitions: [
      { label: 'a', rows: null },
      { label: 'b', rows },
    ],
  })
  const cases: readonly [object, string][] = [
    [{ batchId: '../../../../etc/cron.d/x' }, 'batchId'],
    [{ batchId: `${CONTENT.batchId}/x` }, 'batchId'],
    [{ extractedAt: '../2024-03-01' }, 'extractedAt'],
    [{ extractedAt: '2024-03-01' }, 'extractedAt'],
    [{ format: '../csv' }, 'format'],
    [{ source: '' }, 'source'],
    [{ table: 5 }, 'table'],
    [{ fingerprint: undefined }, 'fingerprint'],
    [{ fingerprint: { system: '1', database: 'd' } }, 'fingerprint.table'],
    [{ columns: [{ name: 'id' }] }, 'columns[0]'],
    [{ options: { columns: 'id' } }, 'options.columns'],
    [{ options: { batchRows: 0 } }, 'options.batchRows'],
    [{ options: { compression: 'lzma' } }, 'options.compression'],
    [{ conditions: [5] }, 'conditions[0]'],
    [{ conditions: ['true', { sql: '?', values: [{ type: 'image', value: '' }] }] }, 'conditions[1].values[0].type'],
    [{ query: 5 }, 'query'],
    [{ partitions: [] }, 'partitions'],
    [{ partitions: Array.from({ length: 10_001 }, () => ({ label: '', rows: null })) }, 'partitions'],
    [part('id > 0'), 'partitions[1].rows'],
    [part({ pages: { from: -1, to: null } }), 'partitions[1].rows.pages.from'],
    [part({ pages: { from: '0', to: null } }), 'partitions[1].rows.pages.from'],
    [part({ pages: { from: 0, to: null }, tables: [] }), 'partitions[1].rows'],
    [part({ toString: {} }), 'partitions[1].rows'],
    [part({ tables: [] }), 'partitions[1].rows.tables'],
    [part({ tables: [{ schema: 's', name: 't', pages: 'true' }] }), 'partitions[1].rows.tables[0].pages'],
    [part({ range: { column: 'id', from: 1, to: null } }), 'partitions[1].rows.range.from'],
    [{ watermark: { ...watermark, rows: ["0123456789abcde'"] } }, 'watermark.rows[0]'],
    [
      { watermark: { ...watermark, since: { ...watermark?.since, copies: ['16384(0,1)"'] } } },
      'watermark.since.copies[0]',
    ],
    [{ watermark: { ...watermark, isEmpty: undefined } }, 'watermark.isEmpty'],
    [{ snapshot: 5 }, 'snapshot'],
    [{ notes: 'x' }, 'notes'],
  ]
  for (const [wrong, path] of cases) {
    const message = `The plan cannot be used: \`${path}\` has a wrong form.`
    assert.throws(() => check(wrong), { code: 'PLAN_INVALID', message }, JSON.stringify(wrong))
  }
})

test('a partition that the plan does not have is refused, whatever it is', () => {
  const plan: unknown = JSON.parse(planWith({}))
  checkPlan(plan)
  for (const number of [0, 3]) checkPartition(plan, number)
  const wrong = [
    4,
    -1,
    0.5,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    '1',
    '1\u001b[2J',
    undefined,
    null,
    1n,
    {},
    Symbol('1'),
  ]
  for (const number of wrong) {
    assert.throws(() => checkPartition(plan, number), {
      code: 'PLAN_INVALID',
      message: /^The plan cannot be used: it has the partitions 0 to 3, and not [\w.\\[+-]+\.$/,
    })
  }
})

test('half a plan and a plan with any damage is PLAN_INVALID, and nothing of it is repeated', () => {
  const text = planWith({ conditions: ["password = 'hunter2'"] })
  const damaged = function* (): Generator<string> {
    for (let at = 0; at < text.length; at += 1) {
      yield text.slice(0, at)
      yield `${text.slice(0, at)}\u0000${text.slice(at)}`
      yield `${text.slice(0, at)}\ud800${text.slice(at)}`
      yield text.slice(0, at) + text.slice(at + 1)
    }
    yield JSON.stringify({ ...JSON.parse(text), notes: ['x'.repeat(1 << 20)] })
    yield '['.repeat(1 << 20)
    yield '[]'
    yield '"hunter2"'
    yield text.replace('"version":3', '"version":"hunter2"')
    yield text.replace('"version":3', '"version":2')
  }
  for (const one of damaged()) {
    let plan: unknown
    try {
      plan = parsePlan(one)
    } catch (error) {
      assert.ok(error instanceof PoolsmithError && error.code === 'PLAN_INVALID', one)
      assert.doesNotMatch(`${inspect(error)}${JSON.stringify(error)}`, /hunter/)
      continue
    }
    assert.fail(`taken: ${JSON.stringify(plan)}`)
  }
})

test('a plan that JSON cannot hold is PLAN_INVALID', () => {
  const endless: Record<string, unknown> = { version: 3, checksum: '' }
  endless.notes = [endless]
  for (const plan of [endless, { version: 3, notes: [1n] }, { version: 3n }, undefined, () => 0]) {
    assert.throws(() => checkPlan(plan), { code: 'PLAN_INVALID' })
  }
})
