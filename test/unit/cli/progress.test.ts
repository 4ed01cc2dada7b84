import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { test } from 'node:test'
import { ProgressBar } from '../../../src/cli/progress.ts'
import { Screen } from '../../../src/cli/terminal.ts'

function recorder(properties: { isTTY?: boolean; columns?: number }): { screen: Screen; written: string[] } {
  const written: string[] = []
  const stream = new Writable({
    write(chunk, _encoding, done) {
      written.push(String(chunk))
      done()
    },
  })
  return { screen: new Screen(Object.assign(stream, properties)), written }
}

test('on a terminal it draws one line over itself, at most ten times a second, and takes it away', () => {
  const { screen, written } = recorder({ isTTY: true, columns: 80 })
  let now = 0
  const bar = new ProgressBar(screen, 'flights', () => now)
  for (; now <= 1000; now += 10)
    bar.update({ rows: now * 100, rowsPerSecond: 100_000, estimatedRows: 200_000, bytes: now * 2000 })
  bar.clear()
  assert.equal(written.length, 12)
  assert.equal(written.at(-2), '\r\x1b[2Kflights [########--------] 50%  100,000 rows  100,000 rows/s  1.0 s left')
  assert.equal(written.at(-1), '\r\x1b[2K')
  for (const line of written) assert.ok(line.replace('\r\x1b[2K', '').length < 80, line)
})

test('on a narrow terminal it leaves out facts that do not fit', () => {
  const { screen, written } = recorder({ isTTY: true, columns: 50 })
  let now = 0
  const bar = new ProgressBar(screen, 'flights', () => now)
  now = 1000
  bar.update({ rows: 100_000, rowsPerSecond: 100_000, estimatedRows: 200_000 })
  assert.equal(written[0], '\r\x1b[2Kflights [########--------] 50%  100,000 rows')
})

test('on a very narrow terminal no line is wrapped, and one that does not know its width counts as 80 columns', () => {
  for (const columns of [1, 5, 12, 30]) {
    const { screen, written } = recorder({ isTTY: true, columns })
    const bar = new ProgressBar(screen, 'flights', () => 0)
    bar.update({ rows: 100_000, rowsPerSecond: 100_000, estimatedRows: 200_000 })
    assert.ok((written[0] ?? '').replace('\r\x1b[2K', '').length < columns)
  }
  assert.equal(recorder({ isTTY: true, columns: 0 }).screen.columns, 80)
})

test('a terminal that cannot draw over a line gets plain ones', (t) => {
  const { TERM } = process.env
  t.after(() => {
    if (TERM === undefined) delete process.env['TERM']
    else process.env['TERM'] = TERM
  })
  process.env['TERM'] = 'dumb'
  const { screen, written } = recorder({ isTTY: true, columns: 80 })
  let now = 0
  const bar = new ProgressBar(screen, 'flights', () => now)
  now = 6000
  bar.update({ rows: 6000, rowsPerSecond: 1000, estimatedRows: 12_000 })
  bar.clear()
  assert.deepEqual(written, ['flights 50%  6,000 rows  1,000 rows/s  6.0 s left\n'])
})

test('an estimate that was too low never says 100 percent', () => {
  const { screen, written } = recorder({ isTTY: true, columns: 100 })
  let now = 0
  const bar = new ProgressBar(screen, 't', () => now)
  now = 1000
  bar.update({ rows: 500, rowsPerSecond: 500, estimatedRows: 100 })
  assert.match(written[0] ?? '', /\[#{16}\] 99% {2}500 rows {2}500 rows\/s$/)
})

test('without a terminal it writes plain lines, one every five seconds, and none for a quick extract', () => {
  const { screen, written } = recorder({})
  let now = 0
  const bar = new ProgressBar(screen, 'flights', () => now)
  for (; now <= 11_000; now += 100) bar.update({ rows: now, rowsPerSecond: 1000 })
  bar.clear()
  assert.deepEqual(written, ['flights  5,000 rows  1,000 rows/s\n', 'flights  10,000 rows  1,000 rows/s\n'])
})
