import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkPlan } from '../../../src/extract/check-plan.ts'
import { checksumOf, type ExtractPlan } from '../../../src/extract/plan.ts'

const CONTENT: Omit<ExtractPlan, 'checksum'> = {
  version: 2,
  batchId: '0b8f3e0a-5f0c-4a53-9d3e-2f1f6f0e2a11',
  plannedAt: '2024-03-01T12:00:00.000Z',
  extractedAt: '2024-03-01T12:00:00.000Z',
  source: 'crm',
  schema: 'public',
  table: 'flights',
  query: { sql: 'select ?', values: [{ type: 'bigint', value: '1' }] },
  format: 'parquet',
  columns: [{ name: 'id', type: 'integer', arrow: 'Int32', note: 'x' }],
  options: { columns: ['id'], asText: [], rowHash: true, batchRows: 1, batchBytes: 1, compression: 'zstd' },
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

function check(changes: object, partition = 0): void {
  const { snapshot, ...content }: Partial<ExtractPlan> = { ...CONTENT, ...changes }
  checkPlan(JSON.parse(JSON.stringify({ ...content, checksum: checksumOf(content), snapshot })), partition)
}

test('a plan with every member is taken, and one without those that may be missing', () => {
  check({}, 3)
  check({ query: undefined, watermark: undefined, estimatedRows: undefined, format: 'batches' })
})

test('a member of a wrong form is refused by its name, though the checksum fits', () => {
  const { watermark } = CONTENT
  const part = (rows: unknown): object => ({ partitions: [{ label: 'a', rows }] })
  const cases: readonly object[] = [
    { batchId: '../../../../etc/cron.d/x' },
    { batchId: `${CONTENT.batchId}/x` },
    { extractedAt: '../2024-03-01' },
    { extractedAt: '2024-03-01' },
    { format: '../csv' },
    { source: '' },
    { table: 5 },
    { columns: [{ name: 'id' }] },
    { options: { columns: 'id' } },
    { options: { batchRows: 0 } },
    { options: { compression: 'lzma' } },
    { conditions: [5] },
    { conditions: [{ sql: '?', values: [{ type: 'image', value: '' }] }] },
    { query: 5 },
    { partitions: [] },
    { partitions: Array.from({ length: 10_001 }, () => ({ label: '', rows: null })) },
    part('id > 0'),
    part({ pages: { from: -1, to: null } }),
    part({ pages: { from: '0', to: null } }),
    part({ pages: { from: 0, to: null }, tables: [] }),
    part({ tables: [] }),
    part({ tables: [{ schema: 's', name: 't', pages: 'true' }] }),
    part({ range: { column: 'id', from: 1, to: null } }),
    { watermark: { ...watermark, rows: ["0123456789abcde'"] } },
    { watermark: { ...watermark, since: { ...watermark?.since, copies: ['16384(0,1)"'] } } },
    { watermark: { ...watermark, isEmpty: undefined } },
    { snapshot: 5 },
    { notes: 'x' },
  ]
  for (const wrong of cases) {
    const [member] = Object.keys(wrong)
    const message = `The plan cannot be used: \`${member}\` has a wrong form.`
    assert.throws(() => check(wrong), { code: 'PLAN_INVALID', message }, JSON.stringify(wrong))
  }
})
