import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Lines } from '../../../../../src/extract/read/table.ts'
import { LineBlocks } from '../../../../../src/extract/read/text/line-blocks.ts'

test('blocks are filled again, also if two are given back before the next one is needed', () => {
  const blocks = new LineBlocks()
  const line = 400_000
  const next = (): Lines => {
    for (;;) {
      blocks.reserve(line)
      blocks.used += line
      blocks.endLine()
      const [full] = blocks.take()
      if (full !== undefined) return full
    }
  }
  const seen = new Set<ArrayBufferLike>()
  let writing: Lines | undefined
  for (let turn = 0; turn < 30; turn++) {
    const waiting = next()
    seen.add(waiting.bytes.buffer)
    if (turn % 3 === 2) {
      // The writer has caught up.
      for (const lines of [writing, waiting]) if (lines !== undefined) blocks.reuse(lines)
      writing = undefined
    } else {
      if (writing !== undefined) blocks.reuse(writing)
      writing = waiting
    }
  }
  assert.ok(seen.size <= 4, `${seen.size} blocks`)
})
