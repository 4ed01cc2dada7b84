import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Progress, ProgressMeter } from '../../../src/extract/progress.ts'

test('progress is reported at once, then five times a second, and at the end', () => {
  let now = 1000
  const reports: Progress[] = []
  const meter = new ProgressMeter(
    (report) => reports.push(report),
    500,
    () => now,
  )
  for (let step = 0; step < 100; step += 1) {
    meter.add(10, step * 100)
    now += 10
  }
  meter.finish(12_345)
  assert.deepEqual(
    reports.map((report) => report.rows),
    [10, 210, 410, 610, 810, 1000],
  )
  assert.deepEqual(reports.at(-1), {
    rows: 1000,
    bytes: 12_345,
    rowsPerSecond: 1000,
    estimatedRows: 500,
    elapsedMillis: 1000,
    done: true,
  })
  assert.equal(reports[0]?.rowsPerSecond, 0)
})

test('rows that were kept from an earlier run do not count for the speed', () => {
  let now = 0
  let last: Progress | undefined
  const meter = new ProgressMeter(
    (report) => (last = report),
    1000,
    () => now,
  )
  meter.keep(900, 9000)
  now = 1000
  meter.add(50, 9500)
  assert.deepEqual([last?.rows, last?.rowsPerSecond], [950, 50])
})
