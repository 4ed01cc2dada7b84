import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { byPages } from '../../../../src/extract/read/postgres-plan.ts'

/** The bounds of a range of pages, as its condition says them. */
function boundsOf(condition: string | null): [number, number] {
  const from = /ctid >= '\((\d+),0\)'/.exec(condition ?? '')?.[1]
  const to = /ctid < '\((\d+),0\)'/.exec(condition ?? '')?.[1]
  return [Number(from ?? 0), to === undefined ? Number.POSITIVE_INFINITY : Number(to)]
}

test('ranges of pages leave nothing out, do not overlap, and are about equal', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 5000 }), { maxLength: 6 }),
      fc.integer({ min: 1, max: 40 }),
      (pages, wanted) => {
        const ranges = byPages(pages, wanted).map(({ condition }) => boundsOf(condition as string | null))
        assert.ok(ranges.length >= 1 && ranges.length <= wanted)
        assert.equal(ranges[0]?.[0], 0)
        assert.equal(ranges.at(-1)?.[1], Number.POSITIVE_INFINITY)
        for (const [index, [from, to]] of ranges.entries()) {
          assert.ok(to > from)
          if (index > 0) assert.equal(from, ranges[index - 1]?.[1])
        }
        const total = pages.reduce((sum, count) => sum + count, 0)
        const within = ([from, to]: [number, number]): number =>
          pages.reduce((sum, count) => sum + Math.max(0, Math.min(count, to) - from), 0)
        // A step of one page number is one page in each part of the table.
        for (const range of ranges) assert.ok(within(range) <= total / wanted + 2 * pages.length)
      },
    ),
  )
})
