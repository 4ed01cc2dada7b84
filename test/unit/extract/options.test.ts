import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkAmounts, checkFormat, checkInstant, checkPartitions, checkTarget } from '../../../src/extract/options.ts'

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

test('a target that is a URL or standard output is refused by name, and its secrets are not repeated', () => {
  const urls = [
    ['s3://bucket/x', 's3'],
    ['s3:bucket', 's3'],
    ['S3A://bucket', 's3a'],
    ['gs://bucket', 'gs'],
    ['abfss://fs@account.dfs.core.windows.net/x', 'abfss'],
    ['https://account.blob.core.windows.net/c?sig=hunter2', 'https'],
    ['sftp://u:hunter2@host/x', 'sftp'],
    ['file:///data', 'file'],
    ['file:data', 'file'],
  ] as const
  for (const [to, scheme] of urls) {
    assert.throws(() => checkTarget(to), {
      code: 'CONFIG_INVALID',
      message: `\`to\` is a URL (${scheme}:), and an extract reads and writes local files only.`,
    })
  }
  assert.throws(() => checkTarget('-'), { code: 'CONFIG_INVALID', message: /`to` is -/ })
  for (const to of ['./s3:/x', 'C:\\data', 'c:/data', '/data/a:b', 'data', './-', 'https', 's3'])
    assert.doesNotThrow(() => checkTarget(to))
})

test('an instant whose year does not have four digits is refused, because it begins a path', () => {
  for (const year of [10_000, -1, 275_000]) {
    const instant = new Date(0)
    instant.setUTCFullYear(year)
    assert.throws(() => checkInstant(instant), { code: 'CONFIG_INVALID' })
  }
  assert.doesNotThrow(() => checkInstant(new Date('9999-12-31T23:59:59.999Z')))
})

test('amounts are whole numbers, and those of Parquet are for Parquet alone', () => {
  for (const rowGroupBytes of [0, -1, 0.5, Number.NaN, '1' as never, null as never]) {
    assert.throws(() => checkFormat({ format: 'parquet', rowGroupBytes }), { code: 'CONFIG_INVALID' })
  }
  assert.doesNotThrow(() => checkFormat({ format: 'parquet', rowGroupBytes: 1 }))
  for (const setting of [{ compression: 'zstd' as const }, { rowGroupBytes: 1 }]) {
    const [name] = Object.keys(setting)
    assert.throws(() => checkFormat({ format: 'csv', ...setting }), {
      code: 'CONFIG_INVALID',
      message: `\`${name}\` is for Parquet, and not for csv.`,
    })
  }
  assert.throws(() => checkAmounts({ concurrency: 0 }), {
    message: '`concurrency` is 0, and not a whole number from 1.',
  })
  assert.doesNotThrow(() => checkAmounts({ waitMillis: 0, other: undefined }, 0))
})
