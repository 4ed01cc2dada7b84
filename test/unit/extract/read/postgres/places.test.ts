import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { byLeaves, byPages, type Leaf, pagesCondition } from '../../../../../src/extract/read/postgres/places.ts'
import type { PageRange } from '../../../../../src/extract/read/table.ts'

/** The bounds of a range of pages; null is all pages. */
function boundsOf(pages: PageRange | null): [number, number] {
  return [pages?.from ?? 0, pages?.to ?? Number.POSITIVE_INFINITY]
}

test('a range of pages is a condition on the place of a row, and all pages are none', () => {
  assert.equal(pagesCondition({ from: 0, to: null }), undefined)
  assert.equal(pagesCondition({ from: 0, to: 7 }), "ctid < '(7,0)'::pg_catalog.tid")
  assert.equal(pagesCondition({ from: 7, to: null }), "ctid >= '(7,0)'::pg_catalog.tid")
  assert.equal(pagesCondition({ from: 7, to: 9 }), "ctid >= '(7,0)'::pg_catalog.tid and ctid < '(9,0)'::pg_catalog.tid")
})

test('ranges of pages leave nothing out, do not overlap, and are about equal', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 5000 }), { maxLength: 6 }),
      fc.integer({ min: 1, max: 40 }),
      (pages, wanted) => {
        const ranges = byPages(pages, wanted).map(({ rows }) =>
          boundsOf(rows !== null && 'pages' in rows ? rows.pages : null),
        )
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

test('tables laid end to end are cut into parts that are about equal and leave nothing out', () => {
  const leaf = fc.record({
    schema: fc.constant('public'),
    name: fc.constant(''),
    pages: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 5000 })),
    heap: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.array(leaf, { minLength: 1, maxLength: 9 }), fc.integer({ min: 2, max: 40 }), (given, wanted) => {
      const leaves: Leaf[] = given.map((one, index) => ({ ...one, name: `t${index}` }))
      const parts = byLeaves(leaves, wanted)
      assert.ok(parts.length >= 1 && parts.length <= wanted)
      if (parts.length === 1) return assert.equal(parts[0]?.rows, null)
      const total = leaves.reduce((sum, { pages }) => sum + pages, 0)
      const uncut = Math.max(0, ...leaves.filter(({ heap }) => !heap).map(({ pages }) => pages))
      const ranges = new Map<string, [number, number][]>(leaves.map(({ name }) => [name, []]))
      for (const { rows, label } of parts) {
        assert.ok(rows !== null && 'tables' in rows)
        assert.notEqual(label, '')
        let pages = 0
        for (const { name, pages: range } of rows.tables) {
          const [from, to] = boundsOf(range)
          ranges.get(name)?.push([from, to])
          pages += Math.min(to, leaves.find((one) => one.name === name)?.pages ?? 0) - from
        }
        assert.ok(pages <= total / wanted + 1 + uncut, `${pages} of ${total}`)
      }
      for (const { name, pages, heap } of leaves) {
        const found = ranges.get(name) ?? []
        assert.equal(found[0]?.[0], 0, 'each is read from its beginning')
        assert.equal(found.at(-1)?.[1], Number.POSITIVE_INFINITY, 'to its end, wherever that may be')
        if (!heap || pages === 0) assert.equal(found.length, 1)
        for (const [index, [from]] of found.entries()) if (index > 0) assert.equal(from, found[index - 1]?.[1])
      }
    }),
  )
})

test('labels say which tables, and ranges where one is cut', () => {
  const leaf = (name: string, pages: number, heap = true): Leaf => ({ schema: 's', name, pages, heap })
  const labels = (leaves: Leaf[], wanted: number): string[] => byLeaves(leaves, wanted).map(({ label }) => label)
  assert.deepEqual(labels([leaf('a', 60), leaf('b', 0), leaf('c', 40)], 2), [
    'a pages 0 to 49',
    'a pages 50 to the end, c',
  ])
  assert.deepEqual(labels([leaf('far', 100, false), leaf('near', 100)], 4), [
    'far',
    'near pages 0 to 49',
    'near pages 50 to the end',
  ])
  const months = Array.from({ length: 12 }, (_, month) => leaf(`m${month}`, 10))
  assert.deepEqual(labels(months, 2), ['m0, m1, m2, 3 more', 'm6, m7, m8, 3 more'])
})
