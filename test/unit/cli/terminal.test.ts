import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { test } from 'node:test'
import { toJson } from '../../../src/cli/json.ts'
import { Screen } from '../../../src/cli/terminal.ts'

function screenWith(properties: Record<string, unknown>): { screen: Screen; written: () => string } {
  let written = ''
  const stream = new Writable({
    write(chunk, _encoding, done) {
      written += String(chunk)
      done()
    },
  })
  return { screen: new Screen(Object.assign(stream, properties)), written: () => written }
}

/** A terminal with colours, as styleText looks for them. */
const colourful = { isTTY: true, columns: 80, getColorDepth: () => 8, hasColors: () => true }

const HOSTILE = 'db\x1b[2J\x1b]0;owned\x07\x9b31m\x7f\r\x08\u202egnp'

test('control characters in a text are shown and not obeyed, on a terminal and in a file', () => {
  for (const properties of [colourful, {}]) {
    const { screen, written } = screenWith(properties)
    screen.line(`name: ${HOSTILE}`)
    assert.equal(written(), 'name: db\\x1b[2J\\x1b]0;owned\\x07\\x9b31m\\x7f \\x08\\u202egnp\n')
  }
})

test('our own colours reach a terminal, and those in a text do not', () => {
  const { screen, written } = screenWith(colourful)
  screen.line(`${screen.style('red', `failed: \x1b[32m${HOSTILE}`)} after`)
  assert.ok(written().startsWith('\x1b[31mfailed: \\x1b[32mdb\\x1b[2J'), JSON.stringify(written()))
  assert.ok(written().endsWith('\\u202egnp\x1b[39m after\n'), JSON.stringify(written()))
  assert.equal(written().split('\x1b').length, 3)
})

test('a text that imitates the mark of our colours is shown as it is', () => {
  const { screen, written } = screenWith(colourful)
  const styled = screen.style('bold', 'x')
  const mark = styled.slice(0, styled.indexOf('x'))
  const { screen: other, written: seen } = screenWith(colourful)
  other.line(mark)
  assert.ok(!seen().includes('\x1b'), 'each screen has a mark of its own')
  screen.line(styled)
  assert.equal(written(), '\x1b[1mx\x1b[22m\n')
})

test('the lines of a text stay lines', () => {
  const { screen, written } = screenWith({})
  screen.line('a\n  b\n\nc')
  assert.equal(written(), 'a\n  b\n\nc\n')
})

test('JSON for programs holds no character that a terminal obeys, and means the same', () => {
  const value = { name: HOSTILE, list: ['\u2028'] }
  const text = toJson(value)
  assert.ok(!/[\p{Cc}\u2028\u202e]/u.test(text), text)
  assert.deepEqual(JSON.parse(text), value)
  const { screen, written } = screenWith({})
  screen.line(text)
  assert.equal(written(), `${text}\n`)
})
