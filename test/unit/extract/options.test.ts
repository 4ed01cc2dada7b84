import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkFormat, checkInstant, checkPartitions, checkTarget } from '../../../src/extract/options.ts'

test('formats and compressions are checked by name', () => {
  assert.doesNotThrow(() => checkFormat({ format: 'parquet', compression: 'gzip' }))
  assert.doesNotThrow(() => checkFormat({ format: 'csv' }))
  for (const [options, message] of [
    [{ format: 'xlsx' }, 'There is no format "xlsx".'],
    [{ format: 'parquet', compression: 'snappy' }, 'There is no compression "snappy".'],
    [{}, 'There is no format undefined.'],
  ] as const) {
    assert.throws(() => checkFormat(options as never), { code: 'CONFIG_INVALID', phase: 'config', message })
  }
})

test('the number of partitions must be a whole number', () => {
  assert.equal(checkPartitions(undefined), 1)
  assert.equal(checkPartitions(10_000), 10_000)
  for (const wanted of [0, -1, 1.5, 10_001, Number.NaN, '4' as never]) {
    assert.throws(() => checkPartitions(wanted), { code: 'CONFIG_INVALID' }, String(wanted))
  }
})

test('the target and the instant are checked before anything is read', () => {
  for (const to of ['bronze', async () => undefined]) assert.doesNotThrow(() => checkTarget(to))
  for (const to of [undefined, '', null, 5]) assert.throws(() => checkTarget(to), { code: 'CONFIG_INVALID' })
  for (const instant of [undefined, new Date(0)]) assert.doesNotThrow(() => checkInstant(instant))
  assert.throws(() => checkInstant(new Date('soon')), { code: 'CONFIG_INVALID', phase: 'config' })
})
