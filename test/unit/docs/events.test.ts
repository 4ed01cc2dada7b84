import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import test from 'node:test'
import { EVENT_NAMES } from '../../../src/events.ts'

const read = (path: string): Promise<string> => readFile(new URL(`../../../${path}`, import.meta.url), 'utf8')

test('docs/events.md names every event, every reason for a close, and no other', async () => {
  const [source, page] = await Promise.all([read('src/events.ts'), read('docs/events.md')])
  // A name without a colon stands without quotes.
  const names = [...source.matchAll(/^ {2}('?)([a-z]+(?::[a-z]+)?)\1: (?!true)/gm)].map(([, , name]) => name)
  const reasons = [...source.matchAll(/^ {2}\| '([a-z-]+)'$/gm)].map(([, reason]) => reason)
  assert.ok(names.length > 10 && reasons.length > 5)
  assert.deepEqual(names.toSorted(), EVENT_NAMES.toSorted())
  const inTables = [...page.matchAll(/^\| (`[^|]+) \|/gm)].flatMap(([, cell]) =>
    [...(cell ?? '').matchAll(/`([^`]+)`/g)].map(([, name]) => name),
  )
  const events = inTables.filter((name) => name?.startsWith('poolsmith:') === false)
  // The traces have a table of their own.
  assert.deepEqual(events.toSorted(), [...names, ...reasons].toSorted())
})
